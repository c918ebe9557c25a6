//! A private network for one run: a namespace for each node, a bridge between them, and cuts that drop without a word.
//!
//! The run itself goes on in a network and a mount namespace of its own ([`enter`]). The bridge and the nodes' namespaces
//! lie in these and are named nowhere else, so all of it is gone with the last process, however that ends; what others
//! have on the machine is neither seen nor touched. Clients are on the bridge: no cut is between them and a node.

use std::{
    fmt::Write as _,
    io::{ErrorKind, Write as _},
    net::Ipv4Addr,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use mesarch_testkit::Host;

/// Set in the process that runs inside.
const INSIDE: &str = "MESARCH_JEPSEN_NETWORK";
/// How a program is started in namespaces that nobody else has.
const UNSHARE: [&str; 4] = ["--net", "--mount", "--propagation", "private"];
/// Everything that a network needs, once.
const PROBE: &str = "mount -t tmpfs none /run && ip link add br0 type bridge && ip netns add probe \
    && ip link add v0 type veth peer name eth0 netns probe && nft add table bridge cut";
/// Becomes the run.
const BECOME: &str = "mount -t tmpfs none /run && exec \"$0\" \"$@\"";
/// Addresses of the range that is set aside for tests of networks.
const NET: [u8; 3] = [198, 18, 0];
/// The bridge, and with it the clients.
const BRIDGE: u8 = 254;

/// Goes on in a private network, in which the program begins anew; returns if it is there already, or says why there is
/// none to be had.
///
/// # Errors
/// Namespaces, `ip` or `nft` are not there or not allowed.
pub(crate) fn enter() -> anyhow::Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(());
    }
    let probe = Command::new("unshare").args(UNSHARE).args(["sh", "-c", PROBE]).output();
    let probe = probe.context("cannot run unshare")?;
    ensure!(probe.status.success(), "{}", String::from_utf8_lossy(&probe.stderr).trim());
    let program = std::env::current_exe().context("cannot find the running program's own file")?;
    let error = Command::new("unshare")
        .args(UNSHARE)
        .args(["sh", "-c", BECOME])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    Err(error).context("cannot run unshare")
}

/// What is dropped of the packets between nodes, which are numbered: the masters, then the agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// All from the first to the second one.
    OneWay(usize, usize),
    /// So many of a hundred, whoever sends them, by chance.
    Some(u8),
}

impl Rule {
    /// All between any of these and any of those.
    pub(crate) fn between(these: &[usize], those: &[usize]) -> Vec<Self> {
        let pairs = these.iter().flat_map(|this| those.iter().map(move |that| (*this, *that)));
        pairs.flat_map(|(this, that)| [Self::OneWay(this, that), Self::OneWay(that, this)]).collect()
    }

    fn rule(self) -> String {
        match self {
            Self::OneWay(from, to) => {
                format!("ip saddr {} ip daddr {} counter drop", address(from), address(to))
            }
            Self::Some(percent) => {
                format!("ip saddr != 0.0.0.0 numgen random mod 100 < {percent} counter drop")
            }
        }
    }
}

/// The network of a run, whole or cut. It ends with the run's process.
pub(crate) struct Network {
    nodes: usize,
}

impl Network {
    /// Makes it. [`enter`] must have succeeded before.
    ///
    /// # Errors
    /// `ip` cannot do its part.
    pub(crate) fn start(nodes: usize) -> anyhow::Result<Self> {
        let mut batch = String::from("link set lo up\nlink add br0 type bridge\nlink set br0 up\n");
        let mut line = |text: String| batch.push_str(&(text + "\n"));
        line(format!("addr add {}/24 dev br0", Ipv4Addr::new(NET[0], NET[1], NET[2], BRIDGE)));
        for node in 0..nodes {
            line(format!("netns add n{node}"));
            line(format!("link add v{node} type veth peer name eth0 netns n{node}"));
            line(format!("link set v{node} master br0 up"));
        }
        feed(&["ip", "-batch", "-"], &batch)?;
        for node in 0..nodes {
            let batch = format!("link set lo up\naddr add {}/24 dev eth0\nlink set eth0 up\n", address(node));
            feed(&["ip", "-n", &format!("n{node}"), "-batch", "-"], &batch)?;
        }
        Ok(Self { nodes })
    }

    /// Where the nodes run.
    pub(crate) fn hosts(&self) -> Vec<Host> {
        let enter = |node| ["ip", "netns", "exec"].map(str::to_owned).into_iter().chain([format!("n{node}")]);
        let host = |node| Host { address: address(node).into(), enter: enter(node).collect() };
        (0..self.nodes).map(host).collect()
    }

    /// Drops this from now on, at once, and nothing else.
    pub(crate) fn cut(&self, drops: &[Rule]) -> anyhow::Result<()> {
        let mut text = String::from("table bridge cut {}\ndelete table bridge cut\ntable bridge cut {\n");
        text.push_str("chain forward { type filter hook forward priority 0; policy accept;\n");
        drops.iter().try_for_each(|drop| writeln!(text, "{}", drop.rule()))?;
        text.push_str("}\n}\n");
        feed(&["nft", "-f", "-"], &text).map(|_| ())
    }

    /// How many packets it has dropped since the cut.
    pub(crate) fn dropped(&self) -> anyhow::Result<u64> {
        Ok(dropped(&feed(&["nft", "list", "table", "bridge", "cut"], "")?))
    }

    /// Drops nothing any more; how many packets it has dropped since the cut.
    pub(crate) fn heal(&self) -> anyhow::Result<u64> {
        let dropped = self.dropped()?;
        feed(&["nft", "delete", "table", "bridge", "cut"], "")?;
        Ok(dropped)
    }
}

/// A node's own address.
fn address(node: usize) -> Ipv4Addr {
    let host = u8::try_from(node + 1).expect("the command line allows 29 nodes");
    Ipv4Addr::new(NET[0], NET[1], NET[2], host)
}

/// The sum of all `counter packets N` in a listing.
fn dropped(listed: &str) -> u64 {
    let counts = listed.split("counter packets ").skip(1);
    counts.filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok()).sum()
}

/// Runs a command with this on its standard input; its standard output.
fn feed(words: &[&str], input: &str) -> anyhow::Result<String> {
    let [program, arguments @ ..] = words else { anyhow::bail!("no command") };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(input.as_bytes()) {
            // Its exit status tells more.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error.into()),
            _ => {}
        }
    }
    let output = child.wait_with_output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}", words.join(" "), errors.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_between_sides_is_one_in_both_directions() {
        assert_eq!(Rule::between(&[0], &[2]), [Rule::OneWay(0, 2), Rule::OneWay(2, 0)]);
        assert_eq!(Rule::between(&[0, 1], &[2, 3]).len(), 8);
        assert_eq!(Rule::OneWay(0, 2).rule(), "ip saddr 198.18.0.1 ip daddr 198.18.0.3 counter drop");
    }

    #[test]
    fn what_was_dropped_is_the_sum_of_all_rules() {
        let listed = "table bridge cut {\n chain forward {\n ip saddr a counter packets 12 bytes 720 drop\n \
            ip saddr b counter packets 3 bytes 180 drop\n } }";
        assert_eq!(dropped(listed), 15);
        assert_eq!(dropped("table bridge cut { }"), 0);
    }
}
