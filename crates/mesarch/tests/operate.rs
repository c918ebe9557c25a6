//! The commands that change a cluster, on a real one: three masters and an agent.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

/// `mesarch dev`, ended with the test.
struct Dev {
    child: Child,
    ready: Value,
    _folder: tempfile::TempDir,
}

impl Dev {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_mesarch"))
            .args(["dev", "--masters", "3", "--agents", "1", "--dir"])
            .arg(folder.path().join("cluster"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Self { child, ready, _folder: folder }
    }

    /// Runs a command against a master that follows; its status and what it prints.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let masters = self.ready["masters"].as_array().unwrap().iter();
        let follower =
            masters.filter_map(Value::as_str).find(|master| self.ready["leader"] != **master).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_mesarch"))
            .args(arguments)
            .args(["--master", follower])
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let (status, out, err) = self.run(&[arguments, &["-o", "json"]].concat());
        assert_eq!(status, 0, "{arguments:?}: {err}");
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    fn good(&self, arguments: &[&str], expect: &str) {
        let (status, out, err) = self.run(arguments);
        assert_eq!((status, out.as_str(), err.as_str()), (0, expect, ""), "{arguments:?}");
    }

    fn bad(&self, arguments: &[&str], status: i32, expect: &str) {
        let (found, out, err) = self.run(arguments);
        assert_eq!((found, out.as_str()), (status, ""), "{arguments:?}: {err}");
        assert!(err.contains(expect) && err.lines().count() == 1, "{arguments:?}: {err}");
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Masters and agents end with the process that started them.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn operators_drive_sharing_from_the_command_line() {
    let dev = Dev::start();
    dev.good(
        &["quota", "set", "eng", "--limit", "cpus:1;mem:64", "--guarantee", "cpus:0.5"],
        "quota of eng is set\n",
    );
    let quota = json!([{"role": "eng", "guarantees": {"cpus": 0.5}, "limits": {"cpus": 1.0, "mem": 64.0}, "consumed": {}}]);
    assert_eq!(dev.json(&["quota", "get"]), quota);
    let shown = "ROLE  GUARANTEE  LIMIT          CONSUMED\neng   cpus:0.5   cpus:1;mem:64  -\n";
    dev.good(&["quota", "get", "eng"], shown);
    dev.bad(
        &["quota", "set", "eng/web", "--limit", "cpus:1"],
        2,
        "only top-level roles can have one (here eng)",
    );
    dev.bad(&["quota", "set", "eng", "--limit", "cpus=1"], 2, "--limit: \"cpus=1\"");
    dev.bad(&["quota", "set", "eng", "--guarantee", "cpus:100000"], 1, "--force sets it all the same");
    dev.bad(&["quota", "set", "eng"], 2, "give --guarantee, --limit or both");
    dev.good(&["quota", "remove", "eng"], "eng has no quota\n");
    assert_eq!(dev.json(&["quota", "get"]), json!([]));

    dev.good(&["weights", "set", "eng=2.5", "ops=1"], "weights are set: eng=2.5 ops=1\n");
    assert_eq!(
        dev.json(&["weights", "get"]),
        json!([{"role": "eng", "weight": 2.5}, {"role": "ops", "weight": 1.0}])
    );
    dev.bad(&["weights", "set", "eng=0"], 2, "eng: weight: must be a number of at least 0.001");
    dev.bad(&["weights", "set", "eng"], 2, "\"eng\" is not NAME=VALUE");

    dev.good(&["policy", "get"], "drf (in force)\npriority\nrandom\n");
    dev.good(&["policy", "set", "priority"], "the policy is priority\n");
    assert_eq!(dev.json(&["policy", "get"])["policy"], "priority");
    dev.bad(&["policy", "set", "fifo"], 2, "there is no \"fifo\", only drf, priority, random");

    dev.good(&["priority", "set", "prod=100"], "priorities are set: prod=100\n");
    assert_eq!(dev.json(&["priority", "get"]), json!([{"role": "prod", "priority": 100}]));
    dev.bad(&["priority", "set", "prod=1000001"], 2, "1000001 is not between -1000000 and 1000000");
    dev.bad(&["priority", "set", "--framework", "x=1"], 1, "no such framework");

    dev.good(&["whitelist", "set"], "no agents are offered\n");
    dev.good(&["whitelist", "remove"], "agents on all hosts are offered\n");

    let agents = dev.json(&["get", "agents"]);
    let agent = agents[0]["id"].as_str().unwrap();
    let reserved = format!("reserved cpus(eng,op):0.5 of {agent}\n");
    dev.good(&["reserve", "--agent", agent, "cpus(eng,op):0.5"], &reserved);
    assert_eq!(dev.json(&["get", "agents"])[0]["reserved_resources"]["eng"]["cpus"], 0.5);
    dev.good(&["unreserve", "--agent", agent, "cpus(eng,op):0.5"], &format!("un{reserved}"));
    dev.bad(&["unreserve", "--agent", agent, "cpus(eng,op):0.5"], 1, "cpus(eng,op):0.5 is not among");
    dev.bad(&["reserve", "--agent", "x", "cpus(eng,op):1"], 1, "agent: there is no x");
    dev.bad(&["reserve", "--agent", agent, "cpus:1"], 2, "write name(role,principal):amount");

    dev.bad(&["allocator", "explain", "--framework", "nobody"], 1, "framework: there is no nobody");
    dev.bad(&["allocator", "explain", "--framework", "nobody", "-o", "json"], 1, "there is no nobody");
}
