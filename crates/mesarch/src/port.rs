//! Flags for the bounds of a port, alike for masters and agents.

use mesarch_master::PortOptions;

use crate::duration::Span;

/// Bounds of the port. What is not given is as the service has it.
#[derive(clap::Args)]
#[command(next_help_heading = "Bounds of the port")]
pub(crate) struct Port {
    /// Most connections at a time, 16 to 1000000; fewer if fewer files may be open [default: 16384]
    #[arg(long, value_name = "N")]
    connections_max: Option<u64>,
    /// How long a new connection may take for the head of its first request, 1secs to 1hrs [default: 20secs; of an agent 30secs]
    #[arg(long, value_name = "TIME")]
    first_request_timeout: Option<Span>,
    /// How long a connection may be idle between two requests, 1secs to 1days [default: 75secs; of an agent 30secs]
    #[arg(long, value_name = "TIME")]
    idle_timeout: Option<Span>,
    /// All headers of a request together, 4096 to 1048576 [default: 65536]
    #[arg(long, value_name = "BYTES")]
    headers_bytes_max: Option<u64>,
    /// The body of a request, 65536 to 8388608 [default: 8388608]
    #[arg(long, value_name = "BYTES")]
    body_bytes_max: Option<u64>,
    /// Memory for the bodies of all requests at a time, 8388608 to 68719476736 [default: 268435456]
    #[arg(long, value_name = "BYTES")]
    bodies_bytes_max: Option<u64>,
}

impl Port {
    /// What is given, and otherwise these.
    pub(crate) fn or(self, usual: &PortOptions) -> PortOptions {
        let ms = |given: Option<Span>, usual: u64| given.map_or(usual, Span::as_ms);
        PortOptions {
            connections_max: self.connections_max.unwrap_or(usual.connections_max),
            first_request_timeout_ms: ms(self.first_request_timeout, usual.first_request_timeout_ms),
            idle_timeout_ms: ms(self.idle_timeout, usual.idle_timeout_ms),
            headers_bytes_max: self.headers_bytes_max.unwrap_or(usual.headers_bytes_max),
            body_bytes_max: self.body_bytes_max.unwrap_or(usual.body_bytes_max),
            bodies_bytes_max: self.bodies_bytes_max.unwrap_or(usual.bodies_bytes_max),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        port: Port,
    }

    fn given(flags: &[&str]) -> PortOptions {
        let flags = Flags::try_parse_from([&["x"], flags].concat()).unwrap();
        flags.port.or(&PortOptions::default())
    }

    #[test]
    fn what_is_not_given_is_usual() {
        assert_eq!(given(&[]), PortOptions::default());
        let some = given(&["--idle-timeout", "2mins", "--connections-max=100", "--body-bytes-max", "70000"]);
        let expect = PortOptions {
            idle_timeout_ms: 120_000,
            connections_max: 100,
            body_bytes_max: 70_000,
            ..PortOptions::default()
        };
        assert_eq!(some, expect);
    }

    #[test]
    fn help_tells_the_defaults_of_masters() {
        let usual = PortOptions::default();
        let help = <Flags as clap::CommandFactory>::command().render_long_help().to_string();
        let ms = |ms: u64| Span::from_ms(ms).to_string();
        for default in [
            usual.connections_max.to_string(),
            ms(usual.first_request_timeout_ms),
            ms(usual.idle_timeout_ms),
            usual.headers_bytes_max.to_string(),
            usual.body_bytes_max.to_string(),
            usual.bodies_bytes_max.to_string(),
        ] {
            assert!(help.contains(&format!("[default: {default}")), "{default}: {help}");
        }
    }
}
