//! Reads of the state: rendered from a copy, on threads of their own (`render`). A big answer takes its time, and nobody
//! waits for it but its readers.
//!
//! How fresh that copy is, the reader says: as the leader knows it while it holds its lease, which is the default; as
//! a quorum confirms that it leads (`linearizable`); or as this very master has applied it (`stale`).

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use mesarch_faults::{Fault, on};
use mesarch_mesos_v1::media;
use mesarch_state::State;

use super::{
    error,
    gates::Refused,
    redirect,
    render::{Key, Render, RenderError, Rendered, Sink, What},
    v0::Query,
};
use crate::{app::App, leader::Session, machine::Published};

/// How long a read waits for its turn.
const READ_WAIT: Duration = Duration::from_secs(10);

/// Log index of the last entry that a stale answer shows.
const APPLIED_INDEX: HeaderName = HeaderName::from_static(APPLIED_INDEX_NAME);
/// For how long the state that a stale answer shows may have been out of date, in ms.
const STALENESS: HeaderName = HeaderName::from_static(STALENESS_NAME);

/// The headers that tell how fresh a stale answer is.
pub(crate) const FRESHNESS: [&str; 2] = [APPLIED_INDEX_NAME, STALENESS_NAME];
const APPLIED_INDEX_NAME: &str = "mesarch-applied-index";
const STALENESS_NAME: &str = "mesarch-staleness-ms";

/// How fresh an answer has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consistency {
    /// The leader's, while it holds its lease.
    Lease,
    /// The leader's, with all that was committed before the question.
    Linearizable,
    /// Any master's own.
    Stale,
}

impl Consistency {
    /// As the query says.
    ///
    /// # Errors
    /// 400 for a word that is none.
    fn of(query: Option<&str>) -> Result<Self, Refused> {
        let named = Self::named(Query::parse(query).get("consistency"));
        named.ok_or_else(|| Box::new(error::text(StatusCode::BAD_REQUEST, UNKNOWN_CONSISTENCY)))
    }

    /// The one of this name; the lease's if none is given, none if there is no such.
    pub(crate) fn named(name: Option<&str>) -> Option<Self> {
        match name {
            None | Some("lease") => Some(Self::Lease),
            Some("linearizable") => Some(Self::Linearizable),
            Some("stale") => Some(Self::Stale),
            Some(_) => None,
        }
    }
}

/// Said of any other word.
pub(crate) const UNKNOWN_CONSISTENCY: &str = "consistency: is one of lease, linearizable and stale";

/// Who answers a read.
#[derive(Clone, Debug)]
pub(crate) enum Reader {
    /// This master, which leads; whether a quorum is to say so.
    Leader(Arc<Session>, Consistency),
    /// This master, whether it leads or not.
    Anyone,
}

impl Reader {
    /// Whoever the query asks for, or the answer that sends the client there.
    pub(super) async fn of(app: &App, path: &str, query: Option<&str>) -> Result<Self, Refused> {
        match Consistency::of(query)? {
            Consistency::Stale => Ok(Self::Anyone),
            at_leader => Ok(Self::Leader(redirect::leader(app, path, query).await?, at_leader)),
        }
    }

    /// The term that this master answers in as leader.
    pub(super) fn session(&self) -> Option<&Arc<Session>> {
        match self {
            Self::Leader(session, _) => Some(session),
            Self::Anyone => None,
        }
    }

    /// Whether the state here may be shown now.
    async fn confirm(&self, app: &App) -> Result<(), Refused> {
        let confirmed = match self {
            Self::Anyone => Ok(()),
            Self::Leader(_, Consistency::Linearizable) => app.consensus.0.read_barrier().await,
            Self::Leader(..) => app.consensus.0.lease_read().await,
        };
        confirmed.map_err(|error| {
            tracing::debug!(%error, "a read was refused: this master may not lead any more");
            Box::new(error::text(StatusCode::SERVICE_UNAVAILABLE, "No leader elected"))
        })
    }

    /// Tells how fresh a stale answer is, now that it is there.
    pub(crate) fn tell(&self, looked: Looked, headers: &mut HeaderMap) {
        if matches!(self, Self::Anyone) {
            headers.insert(APPLIED_INDEX, HeaderValue::from(looked.index));
            if let Some(staleness) = looked.staleness {
                let staleness = staleness.saturating_add(looked.at.elapsed());
                let ms = u64::try_from(staleness.as_millis()).unwrap_or(u64::MAX);
                headers.insert(STALENESS, HeaderValue::from(ms));
            }
        }
    }
}

/// Which state an answer shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Looked {
    /// Log index of the last entry in it.
    pub(super) index: u64,
    /// For how long it may have been out of date; none if nobody knows.
    staleness: Option<Duration>,
    /// When that was so. Rendering takes its time.
    at: Instant,
}

impl Looked {
    /// The newest state.
    pub(super) fn now(app: &App) -> (Arc<Published>, Self) {
        // Before the state, so that nothing newer than it counts for it.
        let (staleness, at) = (app.consensus.0.staleness(), Instant::now());
        let published = app.newest();
        // Broken: the index is that of the last entry in the state that is shown.
        let index = match on(Fault::IndexUnapplied) {
            true => app.consensus.0.status().last_log.unwrap_or_default(),
            false => published.index,
        };
        (published, Self { index, staleness, at })
    }
}

/// What is asked, and in which form the answer is to be.
pub(super) struct Asked {
    pub(super) what: What,
    pub(super) media: &'static str,
    /// Whether the client takes gzip.
    pub(super) gzip: bool,
    /// Whether only the head of the answer is wanted, so that nothing needs to be rendered.
    pub(super) head: bool,
}

/// What `render` makes of the newest state, for this reader and for all others who ask the same at the same time.
pub(super) async fn rendered(
    app: Arc<App>,
    reader: Reader,
    asked: Asked,
    render: impl FnOnce(&App, &State, &mut Sink) -> io::Result<()> + Send + 'static,
) -> Response<Body> {
    match answer(&app, &reader, asked, Box::new(render)).await {
        Ok(response) => response,
        Err(refused) => *refused,
    }
}

async fn answer(
    app: &Arc<App>,
    reader: &Reader,
    asked: Asked,
    render: Render,
) -> Result<Response<Body>, Refused> {
    reader.confirm(app).await?;
    let rendered = match asked.head {
        true => Rendered { body: Body::empty(), is_compressed: false, looked: Looked::now(app).1 },
        false => {
            let term = reader.session().map(|session| session.term);
            let key = Key { what: asked.what, gzip: asked.gzip, term };
            app.desk.rendered(app, key, render).await.map_err(|error| {
                let status = match error {
                    RenderError::Busy => StatusCode::SERVICE_UNAVAILABLE,
                    RenderError::Failed => StatusCode::INTERNAL_SERVER_ERROR,
                };
                Box::new(error::text(status, &error.to_string()))
            })?
        }
    };
    let mut response = Response::new(rendered.body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asked.media));
    if rendered.is_compressed {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    reader.tell(rendered.looked, headers);
    Ok(response)
}

/// Whether the client takes gzip.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let all = headers.get_all(header::ACCEPT_ENCODING);
    all.iter().any(|value| value.to_str().is_ok_and(|text| media::accepts_encoding(text, "gzip")))
}

/// What `look` makes of the newest state, for this reader; or why it may not look.
pub(super) async fn snapshot<T: Send + 'static>(
    app: Arc<App>,
    reader: &Reader,
    look: impl FnOnce(&App, &Published) -> T + Send + 'static,
) -> Result<(T, Looked), Refused> {
    reader.confirm(&app).await?;
    let Ok(Ok(place)) = tokio::time::timeout(READ_WAIT, app.reads.clone().acquire_owned()).await else {
        return Err(Box::new(error::text(StatusCode::SERVICE_UNAVAILABLE, "too many reads at a time")));
    };
    let (published, looked) = Looked::now(&app);
    // The place is held until the answer is there, even if nobody waits for it any more.
    let span = tracing::Span::current();
    let look = move || {
        let _place = place;
        span.in_scope(|| look(&app, &published))
    };
    let seen = tokio::task::spawn_blocking(look).await.map_err(|error| {
        tracing::error!(%error, "a read failed");
        let reason = "the answer could not be written";
        Box::new(error::text(StatusCode::INTERNAL_SERVER_ERROR, reason))
    })?;
    Ok((seen, looked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consistency_is_one_of_three_words() {
        let check = |query: Option<&str>, expect: Option<Consistency>| {
            assert_eq!(Consistency::of(query).ok(), expect, "{query:?}");
        };
        check(None, Some(Consistency::Lease));
        check(Some("a=b"), Some(Consistency::Lease));
        check(Some("consistency=lease"), Some(Consistency::Lease));
        check(Some("a=b&consistency=stale"), Some(Consistency::Stale));
        check(Some("consistency=linearizable"), Some(Consistency::Linearizable));
        check(Some("consistency="), None);
        check(Some("consistency=Stale"), None);
        let refused = Consistency::of(Some("consistency=eventual")).unwrap_err();
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    }
}
