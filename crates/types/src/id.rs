//! Names of things. Each is a newtype, so that no signature can take one for another.
//!
//! Text ids are shared (`Arc<str>`): a clone costs a counter. Their syntax is judged at the edge (see
//! [`valid_text_id`]); inside the cluster they are opaque.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
    sync::Arc,
};

/// The longest text id accepted at the edge, in bytes. Mesos uses ids as file names, whose limit is 255.
pub const TEXT_ID_BYTES_MAX: usize = 255;

/// Whether `id` may name a task, executor or framework: not empty, at most [`TEXT_ID_BYTES_MAX`] bytes, no control
/// character, no `/` or `\`, and neither `.` nor `..` (ids become folder names; the rule is Mesos').
pub fn valid_text_id(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= TEXT_ID_BYTES_MAX
        && id != "."
        && id != ".."
        && !id.chars().any(|c| c.is_control() || c == '/' || c == '\\')
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Eq)]
        pub struct $name(Arc<str>);

        /// Ids are mostly shared, so the same allocation is tried first: their text may be far away in memory.
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
            }
        }

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                // As its text is hashed, by which it can be looked up.
                self.0.hash(state);
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                match Arc::ptr_eq(&self.0, &other.0) {
                    true => Ordering::Equal,
                    false => self.0.cmp(&other.0),
                }
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(Arc::from(text))
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(Arc::from(text))
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

text_id!(
    /// A framework; given out by the cluster as `<cluster>-<incarnation>-<number>`.
    FrameworkId
);
text_id!(
    /// An agent; given out by the cluster as `<cluster>-<incarnation>-S<number>`, stable over restarts of the agent.
    AgentId
);
text_id!(
    /// An offer; given out by the cluster as `<cluster>-<incarnation>-O<number>`.
    OfferId
);
text_id!(
    /// A resource provider; given out by its agent, stable over restarts of both.
    ProviderId
);
text_id!(
    /// A task; chosen by its framework, unique among the framework's live tasks.
    TaskId
);
text_id!(
    /// An executor; chosen by its framework, unique per framework and agent.
    ExecutorId
);
text_id!(
    /// An operation on resources of which its framework wants to hear; chosen by the framework, unique among those that it
    /// has not acknowledged.
    OperationId
);
text_id!(
    /// One run of an executor on an agent: a uuid in text form, derived from the launch that began the run.
    ContainerId
);
text_id!(
    /// A scheduler's event stream: the value of `Mesos-Stream-Id`, 36 characters.
    StreamId
);
text_id!(
    /// A role path such as `eng/web`; `*` is the default role.
    Role
);

/// Sixteen opaque bytes in uuid form.
macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for (position, byte) in self.0.iter().enumerate() {
                    if matches!(position, 4 | 6 | 8 | 10) {
                        f.write_str("-")?;
                    }
                    write!(f, "{byte:02x}")?;
                }
                Ok(())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = std::array::TryFromSliceError;

            fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
                Ok(Self(bytes.try_into()?))
            }
        }

        impl FromStr for $name {
            type Err = UuidTextError;

            fn from_str(text: &str) -> Result<Self, UuidTextError> {
                parse_uuid(text).map(Self)
            }
        }
    };
}

/// The text is not a uuid (32 hexadecimal digits in the usual 8-4-4-4-12 groups).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a uuid: expected 32 hexadecimal digits in the groups 8-4-4-4-12")]
pub struct UuidTextError;

fn parse_uuid(text: &str) -> Result<[u8; 16], UuidTextError> {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    if lengths != [8, 4, 4, 4, 12] || !text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit()) {
        return Err(UuidTextError);
    }
    let digits = groups.concat();
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| UuidTextError)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| UuidTextError)?;
    }
    Ok(bytes)
}

uuid_id!(
    /// The cluster; drawn once, when it is bootstrapped.
    ClusterId
);
uuid_id!(
    /// One status update of one task; drawn by the executor that made it, or derived by the agent from launch and state.
    UpdateUuid
);

impl Role {
    /// The default role, `*`.
    pub fn any() -> Self {
        Self::from("*")
    }
}

/// A master in the Raft group. Never reused after a disk is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A launch of a task: the log index of its acceptance and the task's position in that entry.
///
/// It names one life of a task id: a message that carries an older launch id than the live one belongs to a former
/// life and is ignored. Launch ids grow, so an agent keeps a watermark instead of a list of finished ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaunchId {
    /// Log index of the entry that accepted the task.
    pub index: u64,
    /// Position of the task among all launches of that entry.
    pub position: u32,
}

impl fmt::Display for LaunchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.position)
    }
}

/// The beginning of something that can end: the place in the log (entry and command, see
/// [`At::epoch`](crate::At::epoch)) at which it began.
///
/// An end names the epoch that it ends, and is refused when a newer beginning exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// What orders leaders for an agent: it keeps the highest fence it has seen and refuses messages with a lower one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fence {
    /// The cluster; fences of different clusters do not compare, they conflict.
    pub cluster: ClusterId,
    /// Raised by restore and recovery.
    pub incarnation: u64,
    /// The leader's Raft term.
    pub term: u64,
}

impl Fence {
    /// Whether a message under `self` may be obeyed by one who has already obeyed `highest`.
    pub fn admits_after(&self, highest: &Fence) -> bool {
        self.cluster == highest.cluster
            && (self.incarnation, self.term) >= (highest.incarnation, highest.term)
    }
}
