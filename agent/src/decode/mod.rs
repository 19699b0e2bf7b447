//! Bytes of the ring into events. Pure, and never fails: what is no record is
//! said to be malformed.

mod call;
mod field;
mod point;
mod request;

use agent_common::limits::CGROUP_PATH_BYTES;
use agent_common::record::RecordKind;
use agent_common::record::cgroup::CgroupRecord;
use agent_common::record::process::ProcessRecord;

use crate::event::cgroup::Cgroup;
use crate::event::process::{Kind, Process};
use crate::event::{Event, Malformed};
use field::field;

/// Reads one record.
///
/// # Errors
///
/// If the bytes are no record of this version.
pub fn decode(bytes: &[u8]) -> Result<Event, Malformed> {
    let kind = bytes.first().copied().and_then(RecordKind::from_raw).ok_or(Malformed::Kind)?;
    match kind {
        RecordKind::Request => request::decode(bytes, false).map(Event::Request),
        RecordKind::RequestWithHead => request::decode(bytes, true).map(Event::Request),
        RecordKind::Call => call::decode(bytes).map(Event::Call),
        RecordKind::Point => point::decode(bytes).map(Event::Point),
        RecordKind::Exec => process(bytes, Kind::Exec),
        RecordKind::Exit => process(bytes, Kind::Exit),
        RecordKind::Serves => process(bytes, Kind::Serves),
        RecordKind::Listens => process(bytes, Kind::Listens),
        RecordKind::CgroupMade => cgroup(bytes, true),
        RecordKind::CgroupRemoved => cgroup(bytes, false),
    }
}

fn process(bytes: &[u8], kind: Kind) -> Result<Event, Malformed> {
    if bytes.len() != size_of::<ProcessRecord>() {
        return Err(Malformed::Length);
    }
    Ok(Event::Process(Process {
        kind,
        tgid: field!(bytes, ProcessRecord, tgid: u32),
        cgroup_id: field!(bytes, ProcessRecord, cgroup_id: u64),
        start_boottime_ns: field!(bytes, ProcessRecord, start_boottime_ns: u64),
        port: field!(bytes, ProcessRecord, port: u16),
        netns: field!(bytes, ProcessRecord, netns: u32),
    }))
}

fn cgroup(bytes: &[u8], is_made: bool) -> Result<Event, Malformed> {
    if bytes.len() != size_of::<CgroupRecord>() {
        return Err(Malformed::Length);
    }
    let len = field!(bytes, CgroupRecord, path_len: u32) as usize;
    if len > CGROUP_PATH_BYTES {
        return Err(Malformed::Value);
    }
    let at = std::mem::offset_of!(CgroupRecord, path);
    let path = bytes.get(at..at + len).ok_or(Malformed::Length)?;
    Ok(Event::Cgroup(Cgroup {
        id: field!(bytes, CgroupRecord, cgroup_id: u64),
        path: String::from_utf8_lossy(path).into(),
        is_made,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_record_is_malformed() {
        assert_eq!(decode(&[]).unwrap_err(), Malformed::Kind);
        assert_eq!(decode(&[0; 128]).unwrap_err(), Malformed::Kind);
        assert_eq!(decode(&[1; 319]).unwrap_err(), Malformed::Length);
        assert_eq!(decode(&[3; 41]).unwrap_err(), Malformed::Length);
    }

    #[test]
    fn a_cgroup_keeps_only_its_path() {
        let mut bytes = vec![0; size_of::<CgroupRecord>()];
        bytes[0] = RecordKind::CgroupMade as u8;
        bytes[std::mem::offset_of!(CgroupRecord, path_len)] = 3;
        bytes[std::mem::offset_of!(CgroupRecord, path)..][..4].copy_from_slice(b"/abc");
        let Ok(Event::Cgroup(cgroup)) = decode(&bytes) else { panic!("not a cgroup") };
        assert_eq!((&*cgroup.path, cgroup.is_made), ("/ab", true));
    }

    proptest! {
        #[test]
        fn hostile_bytes_do_no_harm(kind in 0u8..13, rest in proptest::collection::vec(any::<u8>(), 0..600)) {
            let mut bytes = vec![kind];
            bytes.extend(rest);
            for len in [bytes.len(), 40, 64, 128, 320, 416, size_of::<CgroupRecord>()] {
                if let Some(cut) = bytes.get(..len) {
                    let _ = decode(cut);
                }
            }
        }
    }
}
