//! Masters in one process: real Raft on sled, real HTTP and gRPC on loopback, agents and schedulers played by the test.

mod administration_test;
mod agent;
mod client;
mod cluster;

/// Requests that went wrong on their way.
#[path = "../../../edge/tests/bytes/mod.rs"]
mod bytes;
/// Draws any message of a descriptor: the one that the generated code is tested with.
#[path = "../../../proto/tests/oracle/random.rs"]
mod random;

mod agents_test;
mod consistency_test;
mod edge_test;
mod endpoints_test;
mod explain_test;
mod failover_test;
mod gates_test;
mod grpc_operator_test;
mod grpc_test;
mod large_test;
mod limits_test;
mod metrics_test;
mod offers_test;
mod operations_test;
mod operator_test;
mod random_task_test;
mod reads_test;
mod render_test;
mod sharing_test;
mod streams_test;
mod subscribe_test;
