//! Requests that went wrong on their way, for the tests of masters and agents: committed requests with a few bytes changed,
//! sent over real sockets.
//!
//! Whatever is sent, a server answers in HTTP or ends the connection, soon; it neither fails inside (500, a panic) nor keeps
//! the connection. Every request follows from the seed and its number alone.
#![allow(unreachable_pub, reason = "two test crates share it")]
#![allow(clippy::print_stdout, reason = "whoever lets it run for long wants to know how much was done")]

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::{
        Once,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

/// Names for how many seconds requests are sent; without it a few hundred are.
const SECONDS: &str = "MESARCH_FUZZ_SECONDS";
/// Names where chance begins.
const SEED: &str = "MESARCH_FUZZ_SEED";
/// So many changed requests are sent in every run of the tests.
const COUNT: u64 = 300;
/// A connection whose client has no more to say ends within this time.
const DEADLINE: Duration = Duration::from_secs(30);
/// A stream that is silent for so long is one.
const QUIET: Duration = Duration::from_millis(500);
/// Most bytes of a request.
const BYTES_MAX: usize = 64 * 1024;

/// What requests are made of.
const PIECES: [&[u8]; 26] = [
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b" ",
    b":",
    b"GET ",
    b"POST ",
    b"HEAD ",
    b"OPTIONS ",
    b" HTTP/1.1",
    b" HTTP/1.0",
    b"Content-Length: ",
    b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: close\r\n",
    b"Upgrade: h2c\r\n",
    b"application/x-protobuf",
    b"/..",
    b"%00",
    b"?a=b&",
    b"0\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"18446744073709551616",
    b"-1",
    b"\0",
    b"\xff",
];

static PANICS: AtomicU64 = AtomicU64::new(0);
static HOOK: Once = Once::new();

/// Panics of servers since the first look at them: they run on a runtime's threads, and tests on threads of their own name.
fn panics() -> u64 {
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().name().is_none_or(|name| name.starts_with("tokio")) {
                PANICS.fetch_add(1, Ordering::SeqCst);
            }
            before(info);
        }));
    });
    PANICS.load(Ordering::SeqCst)
}

/// Sends the corpus as it is, then changed requests, to one server.
pub async fn throw_at(address: SocketAddr) {
    let before = panics();
    let corpus = corpus();
    for (name, request) in &corpus {
        judge(name, request, &exchange(address, request).await);
    }
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (seed, seconds) = (number(SEED).unwrap_or(1), number(SECONDS));
    let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut count = 0;
    while end.map_or(count < COUNT, |end| Instant::now() < end) {
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (count << 20));
        let request = changed(&corpus, &mut chance);
        let name = format!("request {count} of seed {seed}");
        judge(&name, &request, &exchange(address, &request).await);
        assert_eq!(panics(), before, "{name}: {}", request.escape_ascii());
        count += 1;
    }
    println!("{count} changed requests, none failed");
}

/// All committed requests, by name.
fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/requests");
    let files = fs::read_dir(folder).expect("there").map(|file| file.expect("readable").path());
    let named = files.map(|path| (path.display().to_string(), fs::read(path).expect("readable")));
    let mut corpus: Vec<_> = named.collect();
    corpus.sort();
    assert!(corpus.len() > 100);
    corpus
}

/// All that is answered, until the connection ends or is a stream: with more requests behind its own, a server does not see
/// that its client has no more to say.
async fn exchange(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let talk = async {
        let mut stream = TcpStream::connect(address).await.expect("the server listens");
        // A server that has refused a head may not take the rest.
        let _ = stream.write_all(request).await;
        let _ = stream.shutdown().await;
        let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            match timeout(QUIET, stream.read(&mut buffer)).await {
                Ok(Ok(count @ 1..)) => answer.extend_from_slice(&buffer[..count]),
                Ok(_) => return answer,
                Err(_) if is_stream(&answer) => return answer,
                Err(_) => {}
            }
        }
    };
    let answer = timeout(DEADLINE, talk).await;
    answer.unwrap_or_else(|_| panic!("the connection does not end: {}", request.escape_ascii()))
}

/// An answer in chunks that has not come to its end.
fn is_stream(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_lowercase();
    text.contains("transfer-encoding: chunked") && !text.ends_with("\r\n0\r\n\r\n")
}

fn judge(name: &str, request: &[u8], answer: &[u8]) {
    let status = answer.strip_prefix(b"HTTP/1.1 ").or_else(|| answer.strip_prefix(b"HTTP/1.0 "));
    let status = status.and_then(|rest| std::str::from_utf8(rest.get(..3)?).ok()?.parse::<u16>().ok());
    // Nothing, and what HTTP/2 begins with, are answers as well.
    let is_good = match status {
        Some(status) => (100..506).contains(&status) && status != 500,
        None => answer.is_empty() || request.starts_with(b"PRI "),
    };
    assert!(is_good, "{name}: {} is answered {}", request.escape_ascii(), answer.escape_ascii());
}

/// Numbers that follow from where they begin (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }
}

fn changed(corpus: &[(String, Vec<u8>)], chance: &mut Chance) -> Vec<u8> {
    let mut request = corpus[chance.below(corpus.len())].1.clone();
    for _ in 0..=chance.below(6) {
        let at = chance.below(request.len() + 1);
        let end = (at + chance.below(12)).min(request.len());
        let piece = PIECES[chance.below(PIECES.len())];
        match chance.below(6) {
            0 | 1 => drop(request.splice(at..at, piece.iter().copied())),
            2 => drop(request.splice(at..end, piece.iter().copied())),
            3 => drop(request.drain(at..end)),
            4 => request.insert(at, chance.below(256) as u8),
            _ => {
                let other = &corpus[chance.below(corpus.len())].1;
                let from = chance.below(other.len() + 1);
                drop(request.splice(at..end, other[from..].iter().copied()));
            }
        }
        request.truncate(BYTES_MAX);
    }
    request
}
