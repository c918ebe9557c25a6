use super::*;

fn parse(text: &str) -> Result<Resources, ResourceTextError> {
    parse_resources(text, &Role::any())
}

#[test]
fn texts_read_and_print_canonically() {
    let table = [
        ("cpus:4;mem:1024", "cpus:4;mem:1024"),
        (" mem : 1 024 ; cpus : 0.5 ", "cpus:0.5;mem:1024"),
        ("ports:[5-9, 1-2,3-4];set:{b, a}", "ports:[1-9];set:{a, b}"),
        ("cpus:1;cpus:2;cpus(eng):1", "cpus:3;cpus(eng):1"),
        ("cpus(*):1;cpus:1", "cpus:2"),
        ("cpus(eng,ops):1;cpus(eng,):2", "cpus(eng,):2;cpus(eng,ops):1"),
        ("cpus(eng)(eng/web,ops):1", "cpus(eng)(eng/web,ops):1"),
        ("cpus{REV}:4;cpus:1", "cpus:1;cpus{REV}:4"),
        ("cpus(eng){REV}:4", "cpus(eng){REV}:4"),
        ("cpus:0;ports:[];set:{};;\nmem:1", "mem:1"),
        ("cpus:0.1234", "cpus:0.123"),
        ("", ""),
    ];
    for (text, expect) in table {
        assert_eq!(parse(text).map(|resources| resources.to_string()), Ok(expect.to_owned()), "{text:?}");
    }
}

#[test]
fn a_default_role_reserves_what_names_none() {
    let resources = parse_resources("cpus:1;mem(*):2;disk(b):3", &Role::from("a")).expect("good");
    assert_eq!(resources.to_string(), "cpus(a):1;disk(b):3;mem:2");
}

#[test]
fn errors_name_the_piece() {
    let table = [
        ("cpus:1;mem", "\"mem\" is not of the form name:value"),
        (":1", "\":1\" is not of the form name:value"),
        ("cpus(eng:1", "\"cpus(eng:1\" is not of the form name:value"),
        ("cpus(*,ops):1", "\"cpus(*,ops):1\" is not of the form name:value"),
        ("disk[vol]:1", "\"disk[vol]:1\" is not of the form name:value"),
        ("cpus{SHARED}:1", "\"cpus{SHARED}:1\" is not of the form name:value"),
        ("cpus:many", "the value in \"cpus:many\" is wrong"),
        ("cpus:0.0001", "the value in \"cpus:0.0001\" rounds to zero"),
        ("ports:[9-1]", "\"ports:[9-1]\" holds no valid ranges"),
        ("ports:[1-2", "\"ports:[1-2\" holds no valid ranges"),
        ("ports:[1-2,]", "\"ports:[1-2,]\" holds no valid ranges"),
        ("set:{a,a}", "\"set:{a,a}\" holds no valid set"),
        ("set:{a,}", "\"set:{a,}\" holds no valid set"),
        ("cpus(a/):1", "the role in \"cpus(a/):1\" is invalid"),
        (
            "cpus(a)(b,p):1",
            "in \"cpus(a)(b,p):1\" a reservation does not refine the one before it by principal and a descendant role",
        ),
        (
            "cpus(a)(a/b):1",
            "in \"cpus(a)(a/b):1\" a reservation does not refine the one before it by principal and a descendant role",
        ),
        ("cpus:-1", "resource cpus is negative"),
        ("cpus:1;cpus:[1-2]", "resource cpus has values of different kinds"),
        ("m:9000000000000000;m:9000000000000000", "the sum of m is out of range"),
    ];
    for (text, expect) in table {
        assert_eq!(parse(text).expect_err(text).to_string(), expect);
    }
}
