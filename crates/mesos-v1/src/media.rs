//! `Content-Type` and `Accept` headers.

/// The two encodings of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContentType {
    /// `application/json`
    Json,
    /// `application/x-protobuf`
    Protobuf,
}

/// Streams of records in the agent's API; their inner encoding goes by `Message-Content-Type` and `Message-Accept`.
pub const RECORDIO: &str = "application/recordio";

impl ContentType {
    /// Reads a `Content-Type` header. Case and parameters do not matter, although Mesos insists on the exact text.
    pub fn parse(header: &str) -> Option<Self> {
        let name = without_parameters(header);
        [Self::Json, Self::Protobuf].into_iter().find(|it| name.eq_ignore_ascii_case(it.as_str()))
    }

    /// The name to put into a header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => "application/x-protobuf",
        }
    }

    /// Chooses the encoding of an answer: JSON if it is acceptable at all, else protobuf, else none (406). Without an
    /// `Accept` header everything is acceptable. Several headers are given joined by commas.
    pub fn negotiate(accept: Option<&str>) -> Option<Self> {
        [Self::Json, Self::Protobuf].into_iter().find(|it| accepts(accept, it.as_str()))
    }
}

/// Whether an `Accept` header allows this media type (`type/subtype`, lower case).
///
/// The most specific range that matches decides, so `application/json;q=0, */*` excludes JSON only. Of quality values
/// only zero means anything; order does not.
pub fn accepts(accept: Option<&str>, media_type: &str) -> bool {
    let Some(accept) = accept.filter(|header| !header.trim().is_empty()) else {
        return true;
    };
    let matching =
        accept.split(',').filter_map(|range| Some((specificity(range, media_type)?, !excluded(range))));
    matching.max_by_key(|(specificity, _)| *specificity).is_some_and(|(_, allowed)| allowed)
}

/// Whether an `Accept-Encoding` header allows this coding (lower case). What is not named is not wanted.
pub fn accepts_encoding(accept: &str, coding: &str) -> bool {
    let named = |name: &str| accept.split(',').find(|it| without_parameters(it).eq_ignore_ascii_case(name));
    named(coding).or_else(|| named("*")).is_some_and(|range| !excluded(range))
}

/// How closely a range names the type; `None` if it does not.
fn specificity(range: &str, media_type: &str) -> Option<u8> {
    let name = without_parameters(range);
    if name.eq_ignore_ascii_case(media_type) {
        return Some(2);
    }
    if matches!(name, "*/*" | "*") {
        return Some(0);
    }
    let (main, _) = media_type.split_once('/')?;
    name.strip_suffix("/*").filter(|it| it.eq_ignore_ascii_case(main)).map(|_| 1)
}

fn excluded(range: &str) -> bool {
    let qualities = range.split(';').skip(1).filter_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        if key.trim().eq_ignore_ascii_case("q") { value.trim().parse::<f64>().ok() } else { None }
    });
    qualities.into_iter().any(|quality| quality == 0.0)
}

fn without_parameters(header: &str) -> &str {
    header.split(';').next().unwrap_or(header).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_type_ignores_case_and_parameters() {
        let check = |header: &str, expect| assert_eq!(ContentType::parse(header), expect, "{header}");
        check("application/json", Some(ContentType::Json));
        check("Application/JSON; charset=utf-8", Some(ContentType::Json));
        check(" application/x-protobuf ", Some(ContentType::Protobuf));
        check("application/x-protobuf;v=1", Some(ContentType::Protobuf));
        check("application/recordio", None);
        check("text/plain", None);
        check("application/jsonx", None);
        check("*/*", None);
        check("", None);
    }

    #[test]
    fn json_wins_whenever_it_is_acceptable() {
        let check =
            |accept: &str, expect| assert_eq!(ContentType::negotiate(Some(accept)), expect, "{accept}");
        check("*/*", Some(ContentType::Json));
        check("application/*", Some(ContentType::Json));
        check("application/x-protobuf", Some(ContentType::Protobuf));
        check("application/x-protobuf, application/json;q=0.1", Some(ContentType::Json));
        check("APPLICATION/JSON", Some(ContentType::Json));
        check("text/html, */*;q=0.8", Some(ContentType::Json));
        check("application/json;q=0, application/x-protobuf", Some(ContentType::Protobuf));
        check("application/json; Q=0.000, */*", Some(ContentType::Protobuf));
        check("application/*;q=0, application/json", Some(ContentType::Json));
        check("application/json;q=nonsense", Some(ContentType::Json));
        check("", Some(ContentType::Json));
        check("text/html", None);
        check("text/*", None);
        check("*/*;q=0", None);
        check("application/json;q=0", None);
        assert_eq!(ContentType::negotiate(None), Some(ContentType::Json));
    }

    #[test]
    fn an_encoding_is_used_if_it_is_named_and_not_excluded() {
        for (accept, expect) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("*", true),
            ("", false),
            ("deflate, br", false),
            ("gzip;q=0", false),
            ("*, gzip;q=0.0", false),
            ("gzipped", false),
        ] {
            assert_eq!(accepts_encoding(accept, "gzip"), expect, "{accept}");
        }
    }

    #[test]
    fn recordio_is_asked_for_like_any_type() {
        assert!(accepts(Some("application/recordio"), RECORDIO));
        assert!(accepts(None, RECORDIO));
        assert!(!accepts(Some("application/json"), RECORDIO));
    }
}
