//! Masters in one process: real Raft on sled, real HTTP and gRPC on loopback, agents and schedulers played by the test.

mod agent;
mod client;
mod cluster;

mod agents_test;
mod failover_test;
mod gates_test;
mod grpc_test;
mod large_test;
mod reads_test;
mod streams_test;
