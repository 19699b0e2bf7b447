//! Records: what the kernel says through the ring, one fixed layout a kind.
//!
//! The first byte of every record is its kind. A record of an unknown kind or
//! a wrong length is not an error: it is counted as malformed and skipped.

pub mod call;
pub mod cgroup;
pub mod point;
pub mod process;
pub mod request;

/// Kind of a record, the first byte of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// [`request::RequestRecord`]
    Request = 1,
    /// [`request::RequestHeadRecord`]: with its path or its trace.
    RequestWithHead = 2,
    /// [`process::ProcessRecord`]: a process replaced its program.
    Exec = 3,
    /// [`process::ProcessRecord`]: the last thread of a process ended.
    Exit = 4,
    /// [`process::ProcessRecord`]: a process of a selected cgroup served its
    /// first request, or was found to listen.
    Serves = 5,
    /// [`cgroup::CgroupRecord`]: a cgroup was made.
    CgroupMade = 6,
    /// [`cgroup::CgroupRecord`]: a cgroup was removed.
    CgroupRemoved = 7,
    /// [`process::ProcessRecord`]: any process began to listen.
    Listens = 8,
    /// [`call::CallRecord`]
    Call = 9,
    /// [`point::PointRecord`]
    Point = 10,
}

impl RecordKind {
    /// The kind with this number, if there is one.
    #[must_use]
    pub const fn from_raw(raw: u8) -> Option<Self> {
        Some(match raw {
            1 => Self::Request,
            2 => Self::RequestWithHead,
            3 => Self::Exec,
            4 => Self::Exit,
            5 => Self::Serves,
            6 => Self::CgroupMade,
            7 => Self::CgroupRemoved,
            8 => Self::Listens,
            9 => Self::Call,
            10 => Self::Point,
            _ => return None,
        })
    }
}
