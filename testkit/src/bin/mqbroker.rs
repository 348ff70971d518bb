//! A RocketMQ broker for tests: `mqbroker -n 127.0.0.1:9876`.

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    rocketmq_testkit::program::broker().await
}
