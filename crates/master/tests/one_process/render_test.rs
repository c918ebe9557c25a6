//! How long answers come: in pieces, compressed, shared.

use std::io::Read;

use futures::future::join_all;

use crate::{
    client::{JSON, Scheduler, framework_info, get, request},
    cluster::Cluster,
};

/// Enough frameworks for an answer of several pieces.
const FRAMEWORKS: usize = 400;
/// Longer than one piece of an answer.
const LONG: usize = 128 * 1024;

async fn full() -> (Cluster, std::net::SocketAddr, Vec<Scheduler>) {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let mut schedulers = Vec::new();
    for number in 0..FRAMEWORKS {
        let info = framework_info(&format!("shown {number}"));
        schedulers.push(Scheduler::subscribe(address, info, &[]).await);
    }
    (cluster, address, schedulers)
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).expect("gzip");
    plain
}

#[tokio::test(flavor = "multi_thread")]
async fn long_answers_are_the_same_in_pieces_compressed_and_for_many_at_once() {
    let (_cluster, address, _schedulers) = full().await;
    let plain = get(address, "/state").await;
    assert!(plain.body.len() > LONG, "{} bytes", plain.body.len());
    assert_eq!(plain.header("content-encoding"), None);
    let frameworks = plain.json()["frameworks"].as_array().expect("a list").len();
    assert_eq!(frameworks, FRAMEWORKS);

    for (headers, is_compressed) in [("gzip, deflate", true), ("gzip;q=0", false), ("br", false)] {
        let reply = request(address, "GET", "/state", &[("Accept-Encoding", headers)], b"").await;
        assert_eq!(reply.header("content-encoding"), is_compressed.then_some("gzip"), "{headers}");
        let body = if is_compressed { unpacked(&reply.body) } else { reply.body };
        assert!(body == plain.body, "{headers}");
    }

    let call = br#"{"type":"GET_FRAMEWORKS"}"#;
    let packed = request(address, "POST", "/api/v1", &[JSON, ("Accept-Encoding", "gzip")], call).await;
    let whole = request(address, "POST", "/api/v1", &[JSON], call).await;
    assert!(unpacked(&packed.body) == whole.body && whole.body.len() > LONG);

    // What any master says names no leader.
    let stale = get(address, "/state?consistency=stale").await;
    assert!(stale.body.len() > LONG && stale.body != plain.body);

    // Half of them ask for something else, so that answers begin and end while others wait.
    let paths = ["/state?_ts=1", "/state", "/frameworks", "/state?consistency=stale"];
    let all = join_all((0..64).map(|number| get(address, paths[number % paths.len()]))).await;
    for (number, reply) in all.iter().enumerate() {
        assert_eq!(reply.status, 200);
        match paths[number % paths.len()] {
            "/frameworks" => assert_ne!(reply.body.len(), plain.body.len()),
            "/state?consistency=stale" => assert!(reply.body == stale.body, "{number}"),
            _ => assert!(reply.body == plain.body, "{number}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_answer_has_its_length_and_the_head_of_one_has_no_body() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let reply = request(address, "GET", "/quota", &[("Accept-Encoding", "gzip")], b"").await;
    assert_eq!((reply.text().as_str(), reply.header("content-length")), (r#"{"infos":[]}"#, Some("12")));
    assert_eq!(reply.header("content-encoding"), None, "not worth it");
    let head = request(address, "HEAD", "/state", &[], b"").await;
    assert_eq!((head.status, head.header("content-type")), (200, Some("application/json")));
    assert_eq!(head.header("transfer-encoding"), None);
    let wrapped = get(address, "/quota?jsonp=seen").await;
    assert_eq!(
        (wrapped.text().as_str(), wrapped.header("content-type")),
        (r#"seen({"infos":[]});"#, Some("text/javascript"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_shows_what_was_committed_before_it_while_others_read() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let mut schedulers = Vec::new();
    for number in 1..=50 {
        schedulers.push(Scheduler::subscribe(address, framework_info(&format!("new {number}")), &[]).await);
        // Joined or not, none of these may be from before the framework came.
        for reply in join_all((0..8).map(|_| get(address, "/frameworks"))).await {
            assert_eq!(reply.json()["frameworks"].as_array().expect("a list").len(), number);
        }
    }
}
