//! The executor subcommands alone, for tests of the agent that cannot start the whole binary.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_deref().and_then(|name| name.to_str()) {
        Some("command-executor") => mesarch_agent::command_executor::run().await,
        Some("default-executor") => mesarch_agent::default_executor::run().await,
        Some("executor-launcher") => mesarch_agent::launcher::main(arguments),
        _ => ExitCode::from(2),
    }
}
