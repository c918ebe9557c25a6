//! Rust names for proto names, by the same rules as prost: they must agree, or the generated code does not compile.

use heck::{ToSnakeCase, ToUpperCamelCase};

/// Words that cannot name a field or module as they are, and can with `r#`.
const KEYWORDS: &str = " abstract as async await become box break const continue do dyn else enum extern false final fn \
    for gen if impl in let loop macro match mod move mut override priv pub ref return static struct trait true try type \
    typeof unsafe unsized use virtual where while yield ";

/// Name of a field or module.
pub(crate) fn field(proto: &str) -> String {
    let snake = proto.to_snake_case();
    if KEYWORDS.contains(&format!(" {snake} ")) { format!("r#{snake}") } else { snake }
}

/// Name of a message, enum or oneof variant.
pub(crate) fn camel(proto: &str) -> String {
    proto.to_upper_camel_case()
}

/// `AgentID` → `agent_id`: how errors name a message that stands at the root.
pub(crate) fn root(proto: &str) -> String {
    proto.to_snake_case()
}

/// Path of the type with this full proto name: the package and the enclosing messages are modules.
pub(crate) fn type_path(full: &str) -> String {
    let (outer, name) = full.rsplit_once('.').unwrap_or(("", full));
    format!("{}::{}", module_path(outer), camel(name))
}

/// Path of the module that holds what is nested in this package or message.
pub(crate) fn module_path(full: &str) -> String {
    full.split('.').fold(String::from("crate"), |path, part| format!("{path}::{}", field(part)))
}
