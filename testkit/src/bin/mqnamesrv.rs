//! A RocketMQ name server for tests: `mqnamesrv -p 9876`.

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    rocketmq_testkit::program::name_server().await
}
