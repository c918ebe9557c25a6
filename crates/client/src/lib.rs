//! The SDK: schedulers, executors and operator tools that always find the leader.
//!
//! **What for.** [`scheduler::Scheduler`] is a framework's side of the Mesos v1 scheduler API. It finds the leading
//! master, subscribes, resumes by itself after a failover with its offers still valid, and acknowledges updates.
//! [`executor::Executor`] is the same for executors, [`operator::Operator`] reads what masters publish, and
//! [`masters::resolve`] answers "which cluster?" for every tool in the same way.
//!
//! **Contract.** A call that returned `Ok` was accepted by a leader. Every error says what it is good for: whether a
//! repetition can help ([`Retry`]), and whether the call may have happened all the same
//! ([`CallError::OutcomeUnknown`]). Nothing here waits without a deadline, and every queue is bounded.
//!
//! **Must never do.** Repeat a call that may have launched something, hide a lost subscription, or print.
//!
//! Start reading at [`scheduler`]. A whole framework, which runs one command and waits for its end:
//!
//! ```no_run
//! use mesarch_client::build::{TaskBuilder, framework};
//! use mesarch_client::masters;
//! use mesarch_client::scheduler::{Event, Options, Scheduler};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let masters = masters::resolve(None)?;
//!     let mut scheduler = Scheduler::connect(Options::new(masters, framework("hello"))).await?;
//!     let calls = scheduler.calls();
//!     let mut launched = false;
//!     loop {
//!         match scheduler.next().await? {
//!             Event::Offers(offers) => {
//!                 for offer in offers {
//!                     if launched {
//!                         calls.decline([offer.id], None).await?;
//!                         continue;
//!                     }
//!                     let task = TaskBuilder::command("hello-1", "echo hello").cpus(0.1).mem_mb(32.0);
//!                     calls.launch([offer.id], [task.on(&offer.agent_id)]).await?;
//!                     launched = true;
//!                 }
//!             }
//!             Event::Update(status) => {
//!                 println!("{}: {:?}", status.task_id.value, status.state());
//!                 if mesarch_client::build::is_terminal(status.state()) {
//!                     break;
//!                 }
//!             }
//!             _ => {}
//!         }
//!     }
//!     Ok(calls.teardown().await?)
//! }
//! ```

pub mod backoff;
pub mod build;
mod error;
pub mod executor;
mod http;
pub mod leftovers;
pub mod masters;
pub mod operator;
pub mod readiness;
pub mod scheduler;

pub use error::{CallError, Ended, OperatorError, ResolveError, Retry};
pub use mesarch_mesos_v1::ContentType;
pub use mesarch_proto::mesos::v1;
