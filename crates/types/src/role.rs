//! Role paths: `eng/web/front` is below `eng/web` is below `eng`.

use crate::Role;

/// Why a text is not a role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRole {
    /// No text at all.
    #[error("a role must not be empty")]
    Empty,
    /// An empty component: a slash at an end, or two in a row.
    #[error("role {role:?} has an empty component")]
    EmptyComponent {
        /// The text.
        role: String,
    },
    /// `.`, `..` or `*` as a component.
    #[error("role {role:?} has the reserved component {component:?}")]
    ReservedComponent {
        /// The text.
        role: String,
        /// The component.
        component: String,
    },
    /// A component that could be taken for a flag.
    #[error("role {role:?} has the component {component:?}, which starts with a dash")]
    LeadingDash {
        /// The text.
        role: String,
        /// The component.
        component: String,
    },
    /// A character that paths and logs cannot bear.
    #[error("role {role:?} holds a blank or a delete character")]
    Character {
        /// The text.
        role: String,
    },
}

impl Role {
    /// The role of this name, if the name is one: `*`, or non-empty components between slashes, none of them `.`, `..`
    /// or `*` or beginning with `-`, without blanks and delete characters. There is no limit of length.
    pub fn parse(text: &str) -> Result<Self, InvalidRole> {
        if text == "*" {
            return Ok(Self::any());
        }
        if text.is_empty() {
            return Err(InvalidRole::Empty);
        }
        if text.contains(['\t', '\n', '\x0b', '\x0c', '\r', ' ', '\x7f']) {
            return Err(InvalidRole::Character { role: text.to_owned() });
        }
        text.split('/').try_for_each(|component| check_component(text, component))?;
        Ok(Self::from(text))
    }

    /// Whether the name follows the rules of [`Role::parse`].
    pub fn is_valid(&self) -> bool {
        Self::parse(self.as_str()).is_ok()
    }

    /// Whether this is `*`.
    pub fn is_any(&self) -> bool {
        self.as_str() == "*"
    }

    /// The parts between the slashes.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.as_str().split('/')
    }

    /// How many components there are, at least one.
    pub fn depth(&self) -> usize {
        self.components().count()
    }

    /// The proper ancestors, outermost first: `a`, `a/b` for `a/b/c`.
    pub fn ancestors(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.as_str().match_indices('/').map(|(slash, _)| &self.as_str()[..slash])
    }

    /// The next role above, if there is one.
    pub fn parent(&self) -> Option<&str> {
        self.as_str().rsplit_once('/').map(|(parent, _)| parent)
    }

    /// The outermost role of the path, which may be this one.
    pub fn top_level(&self) -> &str {
        self.as_str().split_once('/').map_or(self.as_str(), |(top, _)| top)
    }

    /// Whether `other` is properly below this role.
    pub fn is_ancestor_of(&self, other: &Self) -> bool {
        other.as_str().strip_prefix(self.as_str()).is_some_and(|rest| rest.starts_with('/'))
    }
}

fn check_component(role: &str, component: &str) -> Result<(), InvalidRole> {
    let (role, named) = (role.to_owned(), component.to_owned());
    match component {
        "" => Err(InvalidRole::EmptyComponent { role }),
        "." | ".." | "*" => Err(InvalidRole::ReservedComponent { role, component: named }),
        _ if component.starts_with('-') => Err(InvalidRole::LeadingDash { role, component: named }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validity() {
        for good in ["*", "a", "eng/web", "a.b", "a-b", "..a", "a:b(c)", "ünï"] {
            assert!(Role::parse(good).is_ok(), "{good:?}");
        }
        for bad in
            ["", "/", "/a", "a/", "a//b", ".", "a/..", "a/*", "*/a", "-a", "a/-b", "a b", "a\t", "a\x7f"]
        {
            assert!(Role::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn errors_name_the_component() {
        let error = Role::parse("eng/../x").expect_err("reserved");
        assert_eq!(error.to_string(), "role \"eng/../x\" has the reserved component \"..\"");
    }

    #[test]
    fn family() {
        let leaf = Role::from("a/b/c");
        assert_eq!(leaf.ancestors().collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!((leaf.parent(), leaf.top_level(), leaf.depth()), (Some("a/b"), "a", 3));
        for (other, expect) in [("a", true), ("a/b", true), ("a/b/c", false), ("a/bc", false), ("*", false)] {
            assert_eq!(Role::from(other).is_ancestor_of(&leaf), expect, "{other}");
        }
        assert_eq!(Role::any().ancestors().count(), 0);
    }
}
