//! `mesarch get`: what is there, for people as a table and for programs as JSON.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::ValueEnum;
use comfy_table::{Cell, CellAlignment, Table, presets};
use mesarch_client::masters;
use mesarch_client::operator::{self, Operator};
use serde_json::{Value, json};

use crate::commands::operate::Output;
use crate::commands::{command_logs, command_runtime, print};
use crate::failure::{WHERE_IS_IT, usage};

const EXAMPLES: &str = "\
Examples:
  mesarch get agents                      who offers what, and how much of it is used
  mesarch get tasks -o json | jq '.[].id'
  mesarch get masters --master m1,m2,m3   works without a leader, too

Shows what is there now: tasks that have ended, and frameworks that have left, are in the masters' /state.";

/// Shows masters, agents, frameworks, tasks, offers or roles
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// What to show
    what: What,
    /// The masters' addresses, separated by commas
    #[arg(long, value_name = "ADDRESSES")]
    master: Option<String>,
    /// How to show it
    #[arg(long, short, default_value = "table")]
    output: Output,
}

/// Whatever there is a table of.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum What {
    Masters,
    Agents,
    Frameworks,
    Tasks,
    Offers,
    Roles,
}

/// One column: its title and where its content comes from.
struct Column {
    title: &'static str,
    content: fn(&Value) -> String,
    number: bool,
}

pub(crate) fn run(arguments: Arguments, log: Option<&str>) -> Result<ExitCode> {
    command_logs(log)?;
    let masters = masters::resolve(arguments.master.as_deref()).map_err(|error| usage(error.to_string()))?;
    let rows = command_runtime()?.block_on(fetch(arguments.what, masters))?;
    print(&shown(arguments.what, arguments.output, &rows)?)?;
    Ok(ExitCode::SUCCESS)
}

/// The rows as they are printed.
pub(super) fn shown(what: What, output: Output, rows: &[Value]) -> Result<String> {
    Ok(match output {
        Output::Json => format!("{}\n", serde_json::to_string_pretty(rows)?),
        Output::Table => table(columns(what), rows),
    })
}

async fn fetch(what: What, masters: Vec<String>) -> Result<Vec<Value>> {
    let operator = Operator::new(masters.clone());
    match what {
        What::Masters => fetch_masters(&operator, &masters).await,
        What::Roles => rows_of(what, &mut operator.get_json("/roles").await?),
        _ => rows_of(what, &mut operator.state().await?),
    }
}

/// The rows in a master's answer; of masters there are none in it.
pub(super) fn rows_of(what: What, state: &mut Value) -> Result<Vec<Value>> {
    match what {
        What::Masters => Ok(Vec::new()),
        What::Roles => take_array(state, "roles"),
        What::Agents => {
            let frameworks = take_array(state, "frameworks")?;
            let mut agents = take_array(state, "slaves")?;
            agents.iter_mut().for_each(|agent| count_tasks(agent, &frameworks));
            Ok(agents)
        }
        What::Frameworks => take_array(state, "frameworks"),
        What::Tasks => from_frameworks(state, "tasks"),
        What::Offers => from_frameworks(state, "offers"),
    }
}

fn take_array(value: &mut Value, key: &str) -> Result<Vec<Value>> {
    match value.get_mut(key).map(Value::take) {
        Some(Value::Array(items)) => Ok(items),
        _ => anyhow::bail!("the leader's answer has no list {key:?}; is it a Mesarch master?"),
    }
}

/// The items of one list of every framework, each with its framework's name.
fn from_frameworks(state: &mut Value, key: &str) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for mut framework in take_array(state, "frameworks")? {
        let name = framework["name"].clone();
        for mut item in take_array(&mut framework, key).with_context(|| format!("framework {name}"))? {
            item["framework_name"] = name.clone();
            all.push(item);
        }
    }
    Ok(all)
}

fn count_tasks(agent: &mut Value, frameworks: &[Value]) {
    let tasks = frameworks.iter().filter_map(|framework| framework["tasks"].as_array()).flatten();
    let count = tasks.filter(|task| task["slave_id"] == agent["id"]).count();
    agent["tasks"] = json!(count);
}

/// Works without a leader, but not when nobody answers: then nothing is known.
async fn fetch_masters(operator: &Operator, masters: &[String]) -> Result<Vec<Value>> {
    let leader = operator.leader().await.ok();
    let rows = masters.iter().map(async |master| {
        let version = operator::get(master, "/version").await;
        let answers = version.is_ok();
        let version: Option<Value> = version.ok().and_then(|reply| serde_json::from_slice(&reply.body).ok());
        let role = match (&leader, answers) {
            (_, false) => "unreachable",
            (Some(leader), true) if leader == master => "leader",
            (Some(_), true) => "follower",
            (None, true) => "no leader",
        };
        json!({ "address": master, "role": role, "version": version })
    });
    let mut rows = futures::future::join_all(rows).await;
    if rows.iter().all(|row| row["role"] == "unreachable") {
        anyhow::bail!("no master answers; asked: {}: {WHERE_IS_IT}", masters.join(", "));
    }
    if let Some(leader) = leader.filter(|leader| !masters.contains(leader)) {
        rows.push(json!({ "address": leader, "role": "leader", "version": null }));
    }
    Ok(rows)
}

fn columns(what: What) -> &'static [Column] {
    const fn text(title: &'static str, content: fn(&Value) -> String) -> Column {
        Column { title, content, number: false }
    }
    const fn number(title: &'static str, content: fn(&Value) -> String) -> Column {
        Column { title, content, number: true }
    }
    match what {
        What::Masters => {
            const { &[text("ADDRESS", |v| show(&v["address"])), text("ROLE", |v| show(&v["role"]))] }
        }
        What::Agents => {
            const {
                &[
                    text("ID", |v| show(&v["id"])),
                    text("HOST", |v| show(&v["hostname"])),
                    text("ACTIVE", |v| show(&v["active"])),
                    text("CPUS", |v| of(v, "cpus")),
                    text("MEM", |v| of(v, "mem")),
                    text("DISK", |v| of(v, "disk")),
                    number("TASKS", |v| show(&v["tasks"])),
                ]
            }
        }
        What::Frameworks => {
            const {
                &[
                    text("ID", |v| show(&v["id"])),
                    text("NAME", |v| show(&v["name"])),
                    text(
                        "ROLES",
                        |v| {
                            if v["roles"].is_array() { show(&v["roles"]) } else { show(&v["role"]) }
                        },
                    ),
                    text("ACTIVE", |v| show(&v["active"])),
                    number("TASKS", |v| v["tasks"].as_array().map_or(0, Vec::len).to_string()),
                    number("CPUS", |v| show(&v["used_resources"]["cpus"])),
                    number("MEM", |v| show(&v["used_resources"]["mem"])),
                ]
            }
        }
        What::Tasks => {
            const {
                &[
                    text("ID", |v| show(&v["id"])),
                    text("NAME", |v| show(&v["name"])),
                    text("FRAMEWORK", |v| show(&v["framework_name"])),
                    text("STATE", |v| show(&v["state"])),
                    text("AGENT", |v| show(&v["slave_id"])),
                    number("CPUS", |v| show(&v["resources"]["cpus"])),
                    number("MEM", |v| show(&v["resources"]["mem"])),
                ]
            }
        }
        What::Offers => {
            const {
                &[
                    text("ID", |v| show(&v["id"])),
                    text("FRAMEWORK", |v| show(&v["framework_name"])),
                    text("ROLE", |v| show(&v["allocation_info"]["role"])),
                    text("AGENT", |v| show(&v["slave_id"])),
                    number("CPUS", |v| show(&v["resources"]["cpus"])),
                    number("MEM", |v| show(&v["resources"]["mem"])),
                ]
            }
        }
        What::Roles => {
            const {
                &[
                    text("NAME", |v| show(&v["name"])),
                    number("WEIGHT", |v| show(&v["weight"])),
                    number("FRAMEWORKS", |v| v["frameworks"].as_array().map_or(0, Vec::len).to_string()),
                    number("CPUS", |v| show(&v["allocated"]["cpus"])),
                    number("MEM", |v| show(&v["allocated"]["mem"])),
                ]
            }
        }
    }
}

/// Used of total.
fn of(agent: &Value, kind: &str) -> String {
    format!("{} of {}", show(&agent["used_resources"][kind]), show(&agent["resources"][kind]))
}

fn show(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => {
            number.as_f64().map_or_else(|| number.to_string(), |number| number.to_string())
        }
        Value::Array(items) => items.iter().map(show).collect::<Vec<_>>().join(","),
        Value::Object(_) => value.to_string(),
    }
}

fn table(columns: &[Column], rows: &[Value]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(columns.iter().map(|column| column.title));
    for row in rows {
        table.add_row(columns.iter().map(|column| {
            let alignment = if column.number { CellAlignment::Right } else { CellAlignment::Left };
            Cell::new((column.content)(row)).set_alignment(alignment)
        }));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_and_offers_are_gathered_from_all_frameworks() {
        let mut state = json!({"frameworks": [
            {"name": "a", "tasks": [{"id": "1"}, {"id": "2"}], "offers": []},
            {"name": "b", "tasks": [{"id": "3"}], "offers": [{"id": "O1"}]},
        ]});
        let tasks = from_frameworks(&mut state.clone(), "tasks").unwrap();
        let seen: Vec<_> = tasks
            .iter()
            .map(|task| format!("{}{}", show(&task["framework_name"]), show(&task["id"])))
            .collect();
        assert_eq!(seen, ["a1", "a2", "b3"]);
        assert_eq!(from_frameworks(&mut state, "offers").unwrap().len(), 1);
        assert!(take_array(&mut json!({}), "frameworks").is_err());
    }

    #[test]
    fn a_table_is_plain_text_in_columns() {
        let rows = [
            json!({"address": "127.0.0.1:5050", "role": "leader"}),
            json!({"address": "m2:5050", "role": null}),
        ];
        let text = table(columns(What::Masters), &rows);
        assert_eq!(text, "ADDRESS         ROLE\n127.0.0.1:5050  leader\nm2:5050         -\n");
    }
}
