//! Request methods, and how they are known by their first bytes.

use super::word::{low, word_of};

/// Request methods, by the number that a record carries (four bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Method {
    /// Not HTTP.
    None = 0,
    /// `GET`
    Get = 1,
    /// `HEAD`
    Head = 2,
    /// `POST`
    Post = 3,
    /// `PUT`
    Put = 4,
    /// `DELETE`
    Delete = 5,
    /// `CONNECT`
    Connect = 6,
    /// `OPTIONS`
    Options = 7,
    /// `TRACE`
    Trace = 8,
    /// `PATCH`
    Patch = 9,
    /// `QUERY`
    Query = 10,
    /// Any other, or one whose name was not seen.
    Other = 15,
}

impl Method {
    /// The method with this number; unknown numbers are [`Method::Other`].
    #[must_use]
    pub const fn from_raw(raw: u8) -> Self {
        match raw {
            0 => Self::None,
            1 => Self::Get,
            2 => Self::Head,
            3 => Self::Post,
            4 => Self::Put,
            5 => Self::Delete,
            6 => Self::Connect,
            7 => Self::Options,
            8 => Self::Trace,
            9 => Self::Patch,
            10 => Self::Query,
            _ => Self::Other,
        }
    }

    /// The value of `http_request_method` (OpenTelemetry: unknown is `_OTHER`).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Patch => "PATCH",
            Self::Query => "QUERY",
            Self::Other => "_OTHER",
        }
    }
}

/// A known method at the start of `word`, with the length of its name; a
/// length of 0 says that none is there.
#[inline(always)]
pub(super) fn known_method(word: u64) -> (u8, usize) {
    let four = word & low(4);
    if four == word_of(b"GET \0\0\0\0") {
        return (Method::Get as u8, 3);
    }
    if four == word_of(b"PUT \0\0\0\0") {
        return (Method::Put as u8, 3);
    }
    let five = word & low(5);
    if five == word_of(b"POST \0\0\0") {
        return (Method::Post as u8, 4);
    }
    if five == word_of(b"HEAD \0\0\0") {
        return (Method::Head as u8, 4);
    }
    if word & low(7) == word_of(b"DELETE \0") {
        return (Method::Delete as u8, 6);
    }
    let six = word & low(6);
    if six == word_of(b"PATCH \0\0") {
        return (Method::Patch as u8, 5);
    }
    if six == word_of(b"QUERY \0\0") {
        return (Method::Query as u8, 5);
    }
    if six == word_of(b"TRACE \0\0") {
        return (Method::Trace as u8, 5);
    }
    if word == word_of(b"OPTIONS ") {
        return (Method::Options as u8, 7);
    }
    if word == word_of(b"CONNECT ") {
        return (Method::Connect as u8, 7);
    }
    (0, 0)
}
