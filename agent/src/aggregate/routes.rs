//! The route of a request, out of its path: by patterns, or by what looks like an
//! id. Pure.
//!
//! Separate because paths are foreign bytes without number: what comes out of
//! here is a label and the name of a span, and is bounded whatever comes in.

use std::borrow::Cow;

use agent_common::limits::PATH_BYTES;

use crate::config;

/// Segments of a route that is guessed; what lies deeper is one `*`.
const MAX_SEGMENTS: usize = 6;
/// The longest segment that is a word; longer ones are keys.
const MAX_WORD: usize = 24;
/// Routes that a service may have; the others are one.
pub(super) const MAX_ROUTES: usize = 32;
/// The others.
pub(super) const OTHER_ROUTE: &str = "_other";

/// What makes routes of paths.
#[derive(Clone, Debug)]
pub struct Router {
    patterns: Vec<Box<str>>,
    guesses: bool,
}

impl Router {
    /// What the configuration asks for; `None` if that is nothing.
    #[must_use]
    pub fn new(routes: &config::Routes) -> Option<Self> {
        let patterns = routes.patterns.iter().map(|pattern| pattern.as_str().into()).collect();
        let router = Self { patterns, guesses: routes.heuristic };
        (router.guesses || !router.patterns.is_empty()).then_some(router)
    }

    /// The route of a path: the first pattern that fits, else a guess, where
    /// that is asked for.
    #[must_use]
    pub fn route(&self, path: &str) -> Option<Cow<'_, str>> {
        if !path.starts_with('/') {
            return None;
        }
        let fits = |pattern: &&str| fits(pattern, path);
        let known = self.patterns.iter().map(|pattern| &**pattern).find(fits);
        known.map(Cow::Borrowed).or_else(|| self.guesses.then(|| Cow::Owned(guess(path))))
    }
}

/// Whether a path is of a pattern such as `/users/{id}` or `/static/*`.
fn fits(pattern: &str, path: &str) -> bool {
    let mut path = path.split('/').skip(1);
    for segment in pattern.split('/').skip(1) {
        if segment == "*" {
            return path.next().is_some();
        }
        let is_any = segment.starts_with('{') && segment.ends_with('}');
        match path.next() {
            Some(of) if of == segment || (is_any && !of.is_empty()) => {}
            _ => return false,
        }
    }
    path.next().is_none()
}

/// `/users/17/orders/` becomes `/users/{id}/orders/`.
fn guess(path: &str) -> String {
    // A path of so many bytes was cut, and so was its last segment.
    let is_cut = path.len() >= PATH_BYTES;
    let count = path.split('/').skip(1).count();
    let mut route = String::new();
    for (at, segment) in path.split('/').skip(1).enumerate() {
        route.push('/');
        if at >= MAX_SEGMENTS || (is_cut && at + 1 == count) {
            route.push('*');
            break;
        }
        route.push_str(if is_word(segment) { segment } else { "{id}" });
    }
    route
}

/// Whether a segment is a part of the route: letters, and digits only at the end
/// of a short word (`v2`, `oauth2`).
fn is_word(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    let letters = bytes.iter().take_while(|byte| !byte.is_ascii_digit()).count();
    let digits = bytes.len() - letters;
    let is_plain = bytes
        .iter()
        .take(letters)
        .all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'_' | b'.'));
    let is_numbered =
        digits == 0 || (digits == 1 && letters > 0 && bytes.last().is_some_and(u8::is_ascii_digit));
    bytes.len() <= MAX_WORD && is_plain && is_numbered
}

/// Routes of one service, each by a number.
#[derive(Debug, Default)]
pub(super) struct Routes {
    known: Vec<Box<str>>,
}

/// Stands for no route.
pub(super) const NO_ROUTE: u8 = 0;
/// Stands for all that are too many.
const TOO_MANY: u8 = u8::MAX;

impl Routes {
    /// The number of a route, given to it now if there is one left.
    pub(super) fn number(&mut self, route: Option<&str>) -> u8 {
        let Some(route) = route else { return NO_ROUTE };
        let known = self.known.iter().position(|known| &**known == route);
        let at = known.unwrap_or_else(|| {
            if self.known.len() < MAX_ROUTES {
                self.known.push(route.into());
                self.known.len() - 1
            } else {
                usize::from(TOO_MANY)
            }
        });
        u8::try_from(at + 1).unwrap_or(TOO_MANY)
    }

    /// The number of a route that has one.
    pub(super) fn find(&self, route: Option<&str>) -> u8 {
        let Some(route) = route else { return NO_ROUTE };
        let at = self.known.iter().position(|known| &**known == route);
        at.and_then(|at| u8::try_from(at + 1).ok()).unwrap_or(TOO_MANY)
    }

    /// The label of a number; empty for no route.
    pub(super) fn label(&self, number: u8) -> &str {
        match number {
            NO_ROUTE => "",
            TOO_MANY => OTHER_ROUTE,
            number => self.known.get(usize::from(number) - 1).map_or(OTHER_ROUTE, |route| route),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn router(patterns: &[&str], heuristic: bool) -> Router {
        let patterns = patterns.iter().map(|text| (*text).to_owned()).collect();
        Router::new(&config::Routes { patterns, heuristic }).unwrap()
    }

    #[test]
    fn what_looks_like_an_id_is_one() {
        let of = router(&[], true);
        for (path, route) in [
            ("/", "/"),
            ("/users", "/users"),
            ("/users/17", "/users/{id}"),
            ("/users/17/orders/", "/users/{id}/orders/"),
            ("/api/v2/oauth2/token", "/api/v2/oauth2/token"),
            ("/u/3f2504e0-4f89-11d3-9a0c-0305e82c3301", "/u/{id}"),
            ("/f/deadbeef01", "/f/{id}"),
            ("/x/a%20b", "/x/{id}"),
            ("/who/me@example.com", "/who/{id}"),
            ("/robots.txt", "/robots.txt"),
            ("/a/b/c/d/e/f/g/h", "/a/b/c/d/e/f/*"),
            ("/thiswordislongerthananyroute", "/{id}"),
        ] {
            assert_eq!(of.route(path).as_deref(), Some(route), "{path}");
        }
        let cut = format!("/files/{}", "a".repeat(PATH_BYTES - 7));
        assert_eq!(of.route(&cut).as_deref(), Some("/files/*"));
        assert_eq!(of.route("*"), None);
        assert_eq!(of.route("http://a/b"), None);
    }

    #[test]
    fn patterns_come_first_and_what_fits_none_has_no_route() {
        let of = router(&["/users/{id}", "/users/me", "/static/*"], false);
        for (path, route) in [
            ("/users/17", Some("/users/{id}")),
            ("/users/me", Some("/users/{id}")),
            ("/users/", None),
            ("/users/17/orders", None),
            ("/static/a/b.css", Some("/static/*")),
            ("/static", None),
            ("/", None),
        ] {
            assert_eq!(of.route(path).as_deref(), route, "{path}");
        }
        assert!(Router::new(&config::Routes::default()).is_none());
    }

    #[test]
    fn a_service_has_no_more_routes_than_the_bound() {
        let mut routes = Routes::default();
        let labels: HashSet<String> = (0..500)
            .map(|n| {
                let number = routes.number(Some(&format!("/r{n}")));
                routes.label(number).to_owned()
            })
            .collect();
        assert_eq!(labels.len(), MAX_ROUTES + 1);
        assert!(labels.contains(OTHER_ROUTE));
        assert_eq!(routes.label(routes.find(Some("/r3"))), "/r3");
        assert_eq!(routes.label(routes.find(Some("/r400"))), OTHER_ROUTE);
        assert_eq!((routes.number(None), routes.label(NO_ROUTE)), (NO_ROUTE, ""));
    }

    proptest! {
        #[test]
        fn hostile_paths_make_short_plain_routes(path in "/[ -~\\PC]{0,80}") {
            let of = router(&["/a/{b}"], true);
            if let Some(route) = of.route(&path) {
                prop_assert!(route.len() <= MAX_SEGMENTS * (MAX_WORD + 1) + 2);
                let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-_.{}*".contains(c);
                prop_assert!(route.chars().all(is_plain), "{route}");
            }
        }

        #[test]
        fn numbers_and_keys_make_no_routes_of_their_own(number: u64, key in "[0-9a-f]{32}") {
            let of = router(&[], true);
            let path = format!("/users/{number}");
            let route = of.route(&path);
            prop_assert_eq!(route.as_deref(), Some("/users/{id}"));
            let path = format!("/objects/{key}/parts");
            let route = of.route(&path);
            prop_assert_eq!(route.as_deref(), Some("/objects/{id}/parts"));
        }
    }
}
