//! Values that stay text: names, file paths, request paths.
//!
//! Separate because what is checked here is length and alphabet, each bound
//! with the reason in the kernel or in the file system.

use std::path::PathBuf;

use agent_common::limits::PATH_BYTES;

use super::{Type, Unfit};

/// A name of one word.
pub(in crate::config) struct Name {
    /// What it names, for the documentation.
    pub(in crate::config) what: &'static str,
    /// The most that is allowed, in bytes.
    pub(in crate::config) max_bytes: usize,
}

impl Type for Name {
    type Value = String;

    fn parse(&self, text: &str) -> Result<String, Unfit> {
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err(Unfit::Form { text: text.to_owned(), wanted: "a name" });
        }
        if text.len() > self.max_bytes {
            return Err(Unfit::Long { text: text.to_owned(), max: self.max_bytes });
        }
        Ok(text.to_owned())
    }

    fn show(&self, value: &String) -> String {
        value.clone()
    }

    fn describe(&self) -> String {
        format!("{}, at most {} bytes", self.what, self.max_bytes)
    }
}

/// The name of a node: a DNS subdomain, so that it can stand in a field selector
/// as it is.
pub(in crate::config) struct NodeName;

/// The most bytes of a DNS subdomain, and so of a node's name.
const MAX_SUBDOMAIN_BYTES: usize = 253;

impl Type for NodeName {
    type Value = String;

    fn parse(&self, text: &str) -> Result<String, Unfit> {
        let is_fit =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
        if text.is_empty() || !text.bytes().all(is_fit) {
            return Err(Unfit::Form {
                text: text.to_owned(),
                wanted: "a node name such as node-1",
            });
        }
        if text.len() > MAX_SUBDOMAIN_BYTES {
            return Err(Unfit::Long { text: text.to_owned(), max: MAX_SUBDOMAIN_BYTES });
        }
        Ok(text.to_owned())
    }

    fn show(&self, value: &String) -> String {
        value.clone()
    }

    fn describe(&self) -> String {
        "node name".to_owned()
    }
}

/// A path of this file system that does not depend on a working directory.
pub(in crate::config) struct AbsolutePath {
    /// The most that is allowed, in bytes.
    pub(in crate::config) max_bytes: usize,
}

impl Type for AbsolutePath {
    type Value = PathBuf;

    fn parse(&self, text: &str) -> Result<PathBuf, Unfit> {
        if !text.starts_with('/') || text.contains('\0') {
            return Err(Unfit::Form { text: text.to_owned(), wanted: "a path that starts with /" });
        }
        if text.len() > self.max_bytes {
            return Err(Unfit::Long { text: text.to_owned(), max: self.max_bytes });
        }
        Ok(PathBuf::from(text))
    }

    fn show(&self, value: &PathBuf) -> String {
        value.to_string_lossy().into_owned()
    }

    fn describe(&self) -> String {
        "absolute path".to_owned()
    }
}

/// A value that may be left empty, which means that there is none.
pub(in crate::config) struct Maybe<T> {
    /// The type of the value where there is one.
    pub(in crate::config) of: T,
    /// What an empty text means.
    pub(in crate::config) empty: &'static str,
}

impl<T: Type> Type for Maybe<T> {
    type Value = Option<T::Value>;

    fn parse(&self, text: &str) -> Result<Self::Value, Unfit> {
        if text.is_empty() { Ok(None) } else { self.of.parse(text).map(Some) }
    }

    fn show(&self, value: &Self::Value) -> String {
        value.as_ref().map(|value| self.of.show(value)).unwrap_or_default()
    }

    fn describe(&self) -> String {
        format!("{}; empty: {}", self.of.describe(), self.empty)
    }
}

/// The most bytes of a request path that the kernel compares: a record keeps
/// [`PATH_BYTES`], and one byte tells a whole path from a cut one.
const MAX_REQUEST_PATH_BYTES: usize = PATH_BYTES - 1;

/// A request path as the kernel compares it: whole, and without a query.
pub(in crate::config) struct RequestPath;

impl Type for RequestPath {
    type Value = String;

    fn parse(&self, text: &str) -> Result<String, Unfit> {
        let is_path = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_path || text.contains('?') {
            let wanted = "a request path such as /healthz, without `?`";
            return Err(Unfit::Form { text: text.to_owned(), wanted });
        }
        if text.len() > MAX_REQUEST_PATH_BYTES {
            return Err(Unfit::Long { text: text.to_owned(), max: MAX_REQUEST_PATH_BYTES });
        }
        Ok(text.to_owned())
    }

    fn show(&self, value: &String) -> String {
        value.clone()
    }

    fn describe(&self) -> String {
        format!("request path, at most {MAX_REQUEST_PATH_BYTES} bytes")
    }
}

/// The most bytes of a route: it is a label.
const MAX_ROUTE_BYTES: usize = 128;

/// A route: segments that are words or `{names}`, the last of which may be `*`.
pub(in crate::config) struct RoutePattern;

impl Type for RoutePattern {
    type Value = String;

    fn parse(&self, text: &str) -> Result<String, Unfit> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/{}*:@".contains(&byte);
        let count = text.split('/').count();
        let fits = |(at, segment): (usize, &str)| {
            let inner = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            let is_word = !inner.unwrap_or(segment).contains(['{', '}', '*']);
            (is_word && inner != Some("")) || (segment == "*" && at + 1 == count)
        };
        if !text.starts_with('/')
            || !text.bytes().all(is_plain)
            || !text.split('/').enumerate().all(fits)
        {
            let wanted = "a route such as /users/{id} or /static/*";
            return Err(Unfit::Form { text: text.to_owned(), wanted });
        }
        if text.len() > MAX_ROUTE_BYTES {
            return Err(Unfit::Long { text: text.to_owned(), max: MAX_ROUTE_BYTES });
        }
        Ok(text.to_owned())
    }

    fn show(&self, value: &String) -> String {
        value.clone()
    }

    fn describe(&self) -> String {
        format!("route, at most {MAX_ROUTE_BYTES} bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_paths_are_whole_and_fit_a_record() {
        let longest = format!("/{}", "a".repeat(62));
        for text in ["/", "/healthz", longest.as_str()] {
            assert_eq!(RequestPath.parse(text), Ok(text.to_owned()));
        }
        let too_long = format!("/{}", "a".repeat(63));
        assert_eq!(
            RequestPath.parse(&too_long),
            Err(Unfit::Long { text: too_long.clone(), max: 63 })
        );
        for text in ["", "healthz", "/a?b", "/a b", "/\u{e9}", "/a\n"] {
            assert!(matches!(RequestPath.parse(text), Err(Unfit::Form { .. })), "{text:?}");
        }
    }

    #[test]
    fn a_node_name_cannot_widen_a_field_selector() {
        assert_eq!(NodeName.parse("ip-10-0-0-1.eu"), Ok("ip-10-0-0-1.eu".to_owned()));
        for text in ["", "a,metadata.name=b", "a=b", "A", "a b", "a!", "a\n", "\u{e9}"] {
            assert!(matches!(NodeName.parse(text), Err(Unfit::Form { .. })), "{text:?}");
        }
        assert!(matches!(NodeName.parse(&"a".repeat(254)), Err(Unfit::Long { max: 253, .. })));
    }

    #[test]
    fn a_route_is_words_and_names() {
        for text in ["/", "/users/{id}", "/static/*", "/a.b/c-d_e/{x}/"] {
            assert_eq!(RoutePattern.parse(text), Ok(text.to_owned()));
        }
        for text in ["", "users", "/a b", "/*/a", "/a*", "/{a", "/{}", "/a{b}", "/a?b", "/\u{e9}"] {
            assert!(matches!(RoutePattern.parse(text), Err(Unfit::Form { .. })), "{text:?}");
        }
    }

    #[test]
    fn an_empty_text_is_no_value_and_not_a_bad_one() {
        let root = Maybe { of: AbsolutePath { max_bytes: 107 }, empty: "detect" };
        assert_eq!(root.parse(""), Ok(None));
        assert_eq!(root.parse("/sys/fs/cgroup"), Ok(Some(PathBuf::from("/sys/fs/cgroup"))));
        assert!(root.parse("sys/fs/cgroup").is_err());
        assert!(root.parse(&format!("/{}", "a".repeat(107))).is_err());
    }

    #[test]
    fn a_comm_longer_than_the_kernel_keeps_is_refused() {
        let comm = Name { what: "command name", max_bytes: 15 };
        assert_eq!(comm.parse("node server"), Ok("node server".to_owned()));
        assert!(matches!(comm.parse("sixteen_bytes_xx"), Err(Unfit::Long { max: 15, .. })));
        assert!(comm.parse("").is_err());
    }
}
