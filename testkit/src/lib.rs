//! A small RocketMQ name server and broker that run inside a test process.
