//! One connection that traces: chunks of lines, as fast as the peer takes them.
//!
//! Separate from the other answers because here the peer sets the pace, and
//! nobody else waits for it: what it does not take is dropped by the tap.

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::server::Sources;
use crate::tap::Stream;

/// Writes until the stream ends or the peer goes. When the peer has nothing
/// more to say the stream is asked to end: what had finished by then comes yet.
pub(super) async fn run(
    mut reader: BufReader<OwnedReadHalf>,
    mut writer: OwnedWriteHalf,
    sources: &Sources,
    mut requests: Stream,
) {
    let mut chunk = Bytes::new();
    let mut is_finishing = false;
    loop {
        tokio::select! {
            next = requests.next(), if !chunk.has_remaining() => match next {
                Some(next) => chunk = next.into(),
                None => return,
            },
            written = writer.write_buf(&mut chunk), if chunk.has_remaining() => {
                if !matches!(written, Ok(1..)) {
                    return;
                }
            }
            // An end, or something that nobody asked for.
            _ = reader.read_u8(), if !is_finishing => {
                is_finishing = true;
                sources.feed.settle().await;
                sources.taps.finish(&requests).await;
            }
        }
    }
}
