//! What holds for any input.

use mesarch_mesos_v1::recordio::{self, Decoder, RecordError};
use mesarch_mesos_v1::{ContentType, decode, media};
use mesarch_proto::mesos::v1::{executor, master, scheduler};
use proptest::prelude::*;

/// All records of a stream that comes in the given pieces.
fn records(stream: &[u8], pieces: &[prop::sample::Index]) -> Result<Vec<Vec<u8>>, RecordError> {
    let mut cuts: Vec<usize> = pieces.iter().map(|piece| piece.index(stream.len() + 1)).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    let mut decoder = Decoder::new(64);
    let mut records = Vec::new();
    for cut in cuts.windows(2) {
        decoder.push(&stream[cut[0]..cut[1]]);
        while let Some(record) = decoder.next_record()? {
            records.push(record.to_vec());
        }
    }
    decoder.finish().map(|()| records)
}

proptest! {
    #[test]
    fn records_survive_any_cutting(
        sent in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..64), 0..8),
        pieces in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let stream: Vec<u8> = sent.iter().flat_map(|record| recordio::encode(record)).collect();
        prop_assert_eq!(records(&stream, &pieces), Ok(sent));
    }

    #[test]
    fn cutting_does_not_change_the_verdict_on_garbage(
        stream in "[0-9\n ax]{0,40}",
        pieces in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        prop_assert_eq!(records(stream.as_bytes(), &pieces), records(stream.as_bytes(), &[]));
    }

    #[test]
    fn no_input_makes_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,100}") {
        for content_type in [ContentType::Json, ContentType::Protobuf] {
            for input in [bytes.as_slice(), text.as_bytes()] {
                let _ = decode::<scheduler::Call>(content_type, input);
                let _ = decode::<executor::Call>(content_type, input);
                let _ = decode::<master::Call>(content_type, input);
            }
        }
        let _ = ContentType::parse(&text);
        let _ = media::accepts(Some(&text), "application/json");
    }
}
