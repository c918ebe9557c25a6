//! Shapes that need no cluster; the rest is compared over HTTP.

use mesarch_types::{
    Role,
    attribute::parse_attributes,
    resource::{Resources, parse_resources},
};

use super::numbers::{Amounts, Attributes};

fn resources(text: &str) -> Resources {
    parse_resources(text, &Role::any()).expect("a good text")
}

fn check(value: &impl serde::Serialize, expect: &str) {
    assert_eq!(serde_json::to_string(value).expect("JSON"), expect);
}

#[test]
fn resources_have_all_four_kinds_and_texts_for_the_rest() {
    check(&Amounts::default(), r#"{"disk":0.0,"mem":0.0,"gpus":0.0,"cpus":0.0}"#);
    let all = [resources("cpus:1.5;mem:32"), resources("cpus(eng):1;ports:[1-2, 9-9];names:{a,b};bugs:7")];
    check(
        &Amounts::of(&all),
        r#"{"disk":0.0,"mem":32.0,"gpus":0.0,"cpus":2.5,"bugs":7.0,"ports":"[1-2, 9-9]","names":"{a, b}"}"#,
    );
}

#[test]
fn attributes_are_numbers_or_texts() {
    let attributes = parse_attributes("rack:r1;slots:4;ports:[1-2]").expect("good");
    check(&Attributes(&attributes), r#"{"rack":"r1","slots":4.0,"ports":"[1-2]"}"#);
}
