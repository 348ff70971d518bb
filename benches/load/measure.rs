//! Time, CPU time and memory of this process, as Linux tells them.

use std::fs;
use std::time::Instant;

pub struct Measured {
    begun: Instant,
    cpu: f64,
    broker: f64,
}

pub struct Numbers {
    secs: f64,
    cpu_s: f64,
    broker_cpu_s: f64,
    count: usize,
    latencies: Vec<u64>,
    pub errors: u64,
    pub first_ack_ms: f64,
    pub extra: String,
}

impl Measured {
    pub fn begin() -> Self {
        Self {
            broker: broker_cpu(),
            cpu: cpu(),
            begun: Instant::now(),
        }
    }

    pub fn end(self, count: usize, mut latencies: Vec<u64>) -> Numbers {
        let secs = self.begun.elapsed().as_secs_f64();
        let (cpu_s, broker_cpu_s) = (cpu() - self.cpu, broker_cpu() - self.broker);
        latencies.sort_unstable();
        Numbers {
            secs,
            cpu_s,
            broker_cpu_s,
            count,
            latencies,
            errors: 0,
            first_ack_ms: -1.0,
            extra: String::new(),
        }
    }
}

impl Numbers {
    pub fn print(&self, workload: &str, count: usize, body: usize, conc: usize) {
        let percentile = |of: f64| match self.latencies.len() {
            0 => "null".to_owned(),
            n => format!(
                "{:.1}",
                self.latencies[((of * n as f64) as usize).min(n - 1)] as f64 / 1e3
            ),
        };
        println!(
            "{{\"peer\":\"ours\",\"workload\":\"{workload}\",\"count\":{count},\"body\":{body},\"conc\":{conc},\"secs\":{:.3},\
             \"msgs_per_s\":{:.0},\"p50_us\":{},\"p99_us\":{},\"p999_us\":{},\"max_us\":{},\"cpu_s\":{:.3},\"rss_mb\":{},\
             \"errors\":{},\"broker_cpu_s\":{:.2},\"first_ack_ms\":{:.0}{}}}",
            self.secs,
            self.count as f64 / self.secs,
            percentile(0.5),
            percentile(0.99),
            percentile(0.999),
            percentile(1.0),
            self.cpu_s,
            peak_mb(),
            self.errors,
            self.broker_cpu_s,
            self.first_ack_ms,
            self.extra,
        );
    }
}

/// Seconds of processor time of every thread of this process.
fn cpu() -> f64 {
    let tasks = fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let nanos: f64 = tasks
        .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|stat| stat.split_whitespace().next()?.parse::<f64>().ok())
        .sum();
    nanos / 1e9
}

/// The same of the broker's process, in hundredths; -1 where it is not known.
fn broker_cpu() -> f64 {
    let read = || {
        let stat =
            fs::read_to_string(format!("/proc/{}/stat", std::env::var("BROKER_PID").ok()?)).ok()?;
        let fields: Vec<&str> = stat[stat.rfind(')')? + 2..].split_whitespace().collect();
        Some((fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?) / 100.0)
    };
    read().unwrap_or(-1.0)
}

fn peak_mb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap_or_default();
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse::<u64>().ok())
        .unwrap_or(0)
        / 1024
}
