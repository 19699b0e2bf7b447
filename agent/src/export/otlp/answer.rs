//! What an endpoint's answer means. Pure.
//!
//! Separate because the OTLP specification says which answers are to be tried
//! again and which never, and no network is needed to hold to it.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;

/// The longest pause that an endpoint may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// What became of one try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The batch was taken.
    Taken {
        /// But for so many spans.
        rejected: u64,
        /// What the endpoint has to say; empty for nothing.
        said: String,
    },
    /// It is to be sent again.
    Busy {
        /// Not before this.
        after: Option<Duration>,
        /// Why.
        why: String,
    },
    /// It is not to be sent again.
    Refused {
        /// Why.
        why: String,
    },
    /// The endpoint could not be reached, or broke off.
    Unreachable {
        /// Why.
        why: String,
    },
    /// It did not answer in time.
    Late,
}

/// The answer to protobuf over HTTP.
pub(super) fn of_http(status: u16, retry_after: Option<&str>, body: &[u8]) -> Answer {
    match status {
        200..=299 => taken(body),
        429 | 502..=504 => {
            Answer::Busy { after: seconds(retry_after), why: format!("status {status}") }
        }
        _ => Answer::Refused { why: format!("status {status}") },
    }
}

/// The answer to gRPC: its code and message, where there were any. Without a
/// code the status is that of somebody in between.
pub(super) fn of_grpc(
    status: u16,
    code: Option<&str>,
    said: Option<&str>,
    retry_after: Option<&str>,
    body: &[u8],
) -> Answer {
    let Some(code) = code.and_then(|code| code.parse::<u32>().ok()) else {
        return match status {
            200 => Answer::Unreachable { why: "an answer without grpc-status".to_owned() },
            _ => of_http(status, retry_after, &[]),
        };
    };
    let why = || plain(&format!("gRPC code {code}: {}", said.unwrap_or_default()));
    match code {
        0 => taken(message(body)),
        // Cancelled, deadline exceeded, resource exhausted, aborted, out of
        // range, unavailable, data loss. Strictly the third is to be tried again
        // only with a hint when; the pause grows all the same.
        1 | 4 | 8 | 10 | 11 | 14 | 15 => Answer::Busy { after: seconds(retry_after), why: why() },
        _ => Answer::Refused { why: why() },
    }
}

/// The first message of a gRPC body: a flag, a length, the message.
fn message(body: &[u8]) -> &[u8] {
    let Some((head, rest)) = body.split_first_chunk::<5>() else { return &[] };
    let [_, length @ ..] = head;
    let length = u32::from_be_bytes(*length) as usize;
    rest.get(..length).unwrap_or_default()
}

fn taken(body: &[u8]) -> Answer {
    // An answer that cannot be read does not take back that it was taken.
    let response = ExportTraceServiceResponse::decode(body).unwrap_or_default();
    let partial = response.partial_success.unwrap_or_default();
    Answer::Taken {
        rejected: u64::try_from(partial.rejected_spans).unwrap_or(0),
        said: plain(&partial.error_message),
    }
}

fn seconds(text: Option<&str>) -> Option<Duration> {
    let seconds = text?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

/// What others say, on one line and short.
pub(super) fn plain(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;
    use proptest::prelude::*;

    use super::*;

    fn partial(rejected_spans: i64) -> Vec<u8> {
        let partial = ExportTracePartialSuccess { rejected_spans, error_message: "x\ny".into() };
        ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec()
    }

    fn framed(body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[0][..], &length, body].concat()
    }

    #[test]
    fn of_http_answers_only_these_are_tried_again() {
        for status in 100..600 {
            let is_again = matches!(of_http(status, None, &[]), Answer::Busy { .. });
            assert_eq!(is_again, [429, 502, 503, 504].contains(&status), "{status}");
            let is_taken = matches!(of_http(status, None, &[]), Answer::Taken { .. });
            assert_eq!(is_taken, (200..300).contains(&status), "{status}");
        }
    }

    #[test]
    fn a_pause_that_is_asked_for_is_kept_within_bounds() {
        let after = |text| match of_http(503, text, &[]) {
            Answer::Busy { after, .. } => after,
            other => panic!("{other:?}"),
        };
        assert_eq!(after(Some(" 7 ")), Some(Duration::from_secs(7)));
        assert_eq!(after(Some("99999")), Some(MAX_RETRY_AFTER));
        assert_eq!(after(Some("Wed, 21 Oct 2026 07:28:00 GMT")), None);
        assert_eq!(after(None), None);
    }

    #[test]
    fn grpc_codes_are_told_apart_and_a_proxy_in_between_too() {
        let code = |code: &str| of_grpc(200, Some(code), Some("a\u{7}b"), None, &[]);
        for again in ["1", "4", "8", "10", "11", "14", "15"] {
            assert!(matches!(code(again), Answer::Busy { .. }), "{again}");
        }
        for never in ["2", "3", "5", "7", "12", "13", "16"] {
            let Answer::Refused { why } = code(never) else { panic!("{never}") };
            assert_eq!(why, format!("gRPC code {never}: a b"));
        }
        assert!(matches!(of_grpc(503, None, None, None, &[]), Answer::Busy { .. }));
        assert!(matches!(of_grpc(404, None, None, None, &[]), Answer::Refused { .. }));
        assert!(matches!(of_grpc(200, None, None, None, &[]), Answer::Unreachable { .. }));
    }

    #[test]
    fn spans_that_were_rejected_are_told() {
        let wanted = Answer::Taken { rejected: 3, said: "x y".to_owned() };
        assert_eq!(of_http(200, None, &partial(3)), wanted);
        assert_eq!(of_grpc(200, Some("0"), None, None, &framed(&partial(3))), wanted);
        let none = Answer::Taken { rejected: 0, said: "x y".to_owned() };
        assert_eq!(of_http(200, None, &partial(-1)), none);
    }

    proptest! {
        #[test]
        fn no_answer_panics(status in 100u16..600, code in "\\PC{0,4}", body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = of_http(status, Some(&code), &body);
            let _ = of_grpc(status, Some(&code), Some(&code), None, &body);
        }
    }
}
