use super::*;

/// Decodes leniently from JSON, as the API does, and validates.
fn validated(json: &str, principal: Option<&str>) -> Result<Type, String> {
    let call: Call = crate::json::decode(json.as_bytes()).map_err(|error| error.to_string())?;
    validate(&call, principal).map_err(|error| error.to_string())
}

const INFO: &str = r#""user":"u","name":"n""#;

#[test]
fn calls_that_say_everything_pass() {
    let check = |kind: Type, rest: &str| {
        let json = format!(r#"{{"type":"{}","framework_id":{{"value":"f"}}{rest}}}"#, kind.as_str_name());
        assert_eq!(validated(&json, Some("p")), Ok(kind), "{json}");
    };
    check(Type::Teardown, "");
    check(Type::Revive, "");
    check(Type::Suppress, "");
    check(Type::Unknown, "");
    check(Type::Accept, r#","accept":{}"#);
    check(Type::Decline, r#","decline":{"offer_ids":[{"value":"o"}]}"#);
    check(Type::AcceptInverseOffers, r#","accept_inverse_offers":{}"#);
    check(Type::DeclineInverseOffers, r#","decline_inverse_offers":{}"#);
    check(Type::Kill, r#","kill":{"task_id":{"value":"t"}}"#);
    check(Type::Shutdown, r#","shutdown":{"executor_id":{"value":"e"},"agent_id":{"value":"a"}}"#);
    check(
        Type::Acknowledge,
        r#","acknowledge":{"agent_id":{"value":"a"},"task_id":{"value":"t"},"uuid":"AAAAAAAAAAAAAAAAAAAAAA=="}"#,
    );
    check(Type::Reconcile, r#","reconcile":{"tasks":null}"#);
    check(Type::ReconcileOperations, r#","reconcile_operations":{}"#);
    check(Type::Message, r#","message":{"agent_id":{"value":"a"},"executor_id":{"value":"e"},"data":""}"#);
    check(Type::Request, r#","request":{}"#);
    check(
        Type::UpdateFramework,
        &format!(r#","update_framework":{{"framework_info":{{{INFO},"id":{{"value":"f"}}}}}}"#),
    );
    check(Type::Subscribe, &format!(r#","subscribe":{{"framework_info":{{{INFO},"id":{{"value":"f"}}}}}}"#));
}

#[test]
fn calls_of_a_type_without_its_message_are_refused() {
    for kind in
        ["ACCEPT", "DECLINE", "KILL", "SHUTDOWN", "RECONCILE", "MESSAGE", "REQUEST", "UPDATE_FRAMEWORK"]
    {
        let json = format!(r#"{{"type":"{kind}","framework_id":{{"value":"f"}}}}"#);
        let expect = format!("Expecting '{}' to be present", kind.to_lowercase());
        assert_eq!(validated(&json, None), Err(expect));
    }
}

#[test]
fn what_is_wrong_is_named() {
    let check =
        |json: &str, expect: &str| assert_eq!(validated(json, Some("p")), Err(expect.to_owned()), "{json}");
    check("{}", "Expecting 'type' to be present");
    check(r#"{"type":"DANCE"}"#, "Expecting 'type' to be present");
    check(r#"{"type":"REVIVE"}"#, "Expecting 'framework_id' to be present");
    check(r#"{"type":"SUBSCRIBE"}"#, "Expecting 'subscribe' to be present");
    check(
        &format!(
            r#"{{"type":"SUBSCRIBE","framework_id":{{"value":"f"}},"subscribe":{{"framework_info":{{{INFO}}}}}}}"#
        ),
        "'framework_id' differs from 'subscribe.framework_info.id'",
    );
    check(
        &format!(
            r#"{{"type":"SUBSCRIBE","subscribe":{{"framework_info":{{{INFO},"id":{{"value":"f"}}}}}}}}"#
        ),
        "'framework_id' differs from 'subscribe.framework_info.id'",
    );
    check(
        &format!(r#"{{"type":"SUBSCRIBE","subscribe":{{"framework_info":{{{INFO},"principal":"q"}}}}}}"#),
        "Authenticated principal 'p' does not match principal 'q' set in FrameworkInfo",
    );
    check(
        &format!(
            r#"{{"type":"UPDATE_FRAMEWORK","framework_id":{{"value":"f"}},
               "update_framework":{{"framework_info":{{{INFO},"id":{{"value":"g"}}}}}}}}"#
        ),
        "'framework_id' differs from 'update_framework.framework_info.id'",
    );
    check(
        r#"{"type":"ACKNOWLEDGE","framework_id":{"value":"f"},
            "acknowledge":{"agent_id":{"value":"a"},"task_id":{"value":"t"},"uuid":"AAAA"}}"#,
        "'uuid' has 3 bytes instead of 16",
    );
    check(
        r#"{"type":"ACKNOWLEDGE_OPERATION_STATUS","framework_id":{"value":"f"},
            "acknowledge_operation_status":{"operation_id":{"value":"o"},"uuid":"AAAAAAAAAAAAAAAAAAAAAA=="}}"#,
        "Expecting 'acknowledge_operation_status.agent_id' to be present",
    );
}

#[test]
fn nobody_authenticated_may_claim_any_principal() {
    let json =
        format!(r#"{{"type":"SUBSCRIBE","subscribe":{{"framework_info":{{{INFO},"principal":"q"}}}}}}"#);
    assert_eq!(validated(&json, None), Ok(Type::Subscribe));
}
