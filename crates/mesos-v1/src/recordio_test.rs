use mesarch_proto::mesos::v1::scheduler::{Event, event};

use super::*;

/// Pushes the chunks one by one and collects what comes out.
fn records(chunks: &[&[u8]]) -> Result<Vec<Bytes>, RecordError> {
    let mut decoder = Decoder::new(16);
    let mut records = Vec::new();
    for chunk in chunks {
        decoder.push(chunk);
        while let Some(record) = decoder.next_record()? {
            records.push(record);
        }
    }
    decoder.finish().map(|()| records)
}

#[test]
fn frames_are_length_and_bytes() {
    assert_eq!(encode(b"hello"), "5\nhello");
    assert_eq!(encode(b""), "0\n");
}

#[test]
fn a_message_is_framed_as_its_bytes_are() {
    let message = |length: usize| event::Message { data: vec![7; length].into(), ..Default::default() };
    for length in [0, 1, 90, 1000, 5000, 100_000] {
        let event = Event { message: Some(message(length)), ..Default::default() };
        for content_type in [ContentType::Json, ContentType::Protobuf] {
            let expect = encode(&crate::encode(content_type, &event));
            assert_eq!(encode_message(content_type, &event), expect, "{length} bytes, {content_type:?}");
        }
    }
}

#[test]
fn records_come_out_however_the_stream_is_cut() {
    let check =
        |chunks: &[&[u8]], expect: &[&str]| assert_eq!(records(chunks).expect("a good stream"), expect);
    check(&[], &[]);
    check(&[b"5\nhello"], &["hello"]);
    check(&[b"5\nhello0\n3\nab", b"c"], &["hello", "", "abc"]);
    check(&[b"1", b"", b"0\n01234", b"56789"], &["0123456789"]);
    check(&[b"5", b"\n", b"h", b"ello", b"1\n", b"\n"], &["hello", "\n"]);
    check(&[b"003\nabc"], &["abc"]);
    check(&[b"16\n0123456789abcdef"], &["0123456789abcdef"]);
}

#[test]
fn bad_streams_are_refused() {
    let check = |stream: &[u8], expect| {
        assert_eq!(records(&[stream]), Err(expect), "{stream:?}");
    };
    check(b"x\nabc", RecordError::BadLength);
    check(b"\nabc", RecordError::BadLength);
    check(b"-1\nabc", RecordError::BadLength);
    check(b"+1\na", RecordError::BadLength);
    check(b" 1\na", RecordError::BadLength);
    check(b"1 \na", RecordError::BadLength);
    check(b"1\r\na", RecordError::BadLength);
    check(b"111111111111111111111", RecordError::BadLength);
    check(b"99999999999999999999\n", RecordError::BadLength);
    check(b"17\n", RecordError::TooLong { length: 17, max: 16 });
    check(b"18446744073709551615\n", RecordError::TooLong { length: u64::MAX, max: 16 });
    check(b"3\nab", RecordError::CutOff);
    check(b"3\n", RecordError::CutOff);
    check(b"3", RecordError::CutOff);
}

#[test]
fn a_failed_decoder_stays_failed_and_keeps_nothing() {
    let mut decoder = Decoder::default();
    decoder.push(b"oops\n");
    assert_eq!(decoder.next_record(), Err(RecordError::BadLength));
    decoder.push(b"1\na");
    assert_eq!(decoder.next_record(), Err(RecordError::BadLength));
    assert_eq!(decoder.finish(), Err(RecordError::BadLength));
    assert!(decoder.buffer.is_empty());
}
