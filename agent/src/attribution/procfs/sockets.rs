//! Listening TCP sockets of a network namespace, and who holds them.
//!
//! Separate because it joins two views of `/proc` (a namespace's table and a
//! process's descriptors) that cost unlike the rest: both grow with the load.

use std::collections::{HashMap, HashSet};
use std::fs::{File, ReadDir, read_dir};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

use crate::attribution::procfs::{Error, parse_inode};

/// A listening TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListeningSocket {
    /// Its port, host order.
    pub port: u16,
    /// Its inode number, as descriptors show it; unique in the whole machine.
    pub inode: u64,
}

/// The listening TCP sockets of a network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListeningSockets {
    /// Those that were kept, IPv4 before IPv6.
    pub sockets: Vec<ListeningSocket>,
    /// Those that were too many.
    pub left_out: usize,
}

impl ListeningSockets {
    /// Those of them that are among a process's descriptors. Looks no further
    /// than needed: it stops when all are found or after `max_descriptors`.
    #[must_use]
    pub fn held_by(
        &self,
        descriptors: SocketInodes,
        max_descriptors: usize,
    ) -> Vec<ListeningSocket> {
        let mut unseen: HashMap<u64, ListeningSocket> =
            self.sockets.iter().map(|socket| (socket.inode, *socket)).collect();
        let mut held = Vec::new();
        for inode in descriptors.take(max_descriptors).flatten() {
            // A socket that was duplicated has several descriptors.
            held.extend(unseen.remove(&inode));
            if unseen.is_empty() {
                break;
            }
        }
        held.sort_unstable();
        held
    }
}

/// What a line of `/proc/net/tcp` says.
enum Line {
    Listening(ListeningSocket),
    /// A connection: the kernel lists these after all listening sockets.
    Connection,
    /// The heading, or not a form that is known.
    Other,
}

impl Line {
    fn parse(line: &str) -> Self {
        Self::fields(line).unwrap_or(Self::Other)
    }

    /// `sl local remote st queues timer retransmits uid timeout inode ...`, in
    /// hexadecimal but for the last three.
    fn fields(line: &str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (_, port) = fields.next()?.rsplit_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        // TCP_LISTEN is 10.
        if u8::from_str_radix(fields.nth(1)?, 16).ok()? != 10 {
            return Some(Self::Connection);
        }
        let inode = fields.nth(5)?.parse().ok()?;
        Some(Self::Listening(ListeningSocket { port, inode }))
    }
}

/// Bytes of a line that are read at most; the kernel writes about 150.
const MAX_LINE_BYTES: u64 = 1024;

pub(super) fn read_listening(process_dir: &Path, max: usize) -> Result<ListeningSockets, Error> {
    let mut found = ListeningSockets::default();
    for (name, may_be_missing) in [("net/tcp", false), ("net/tcp6", true)] {
        let path = process_dir.join(name);
        match read_table(&path, max, &mut found) {
            // No such file where IPv6 is off.
            Err(error) if may_be_missing && error.kind() == io::ErrorKind::NotFound => {}
            result => result.map_err(|source| Error::Read { path, source })?,
        }
    }
    Ok(found)
}

/// Stops at the first connection: a busy namespace has a hundred thousand.
fn read_table(path: &Path, max: usize, found: &mut ListeningSockets) -> io::Result<()> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        match Line::parse(&String::from_utf8_lossy(&line)) {
            Line::Listening(socket) if found.sockets.len() < max => found.sockets.push(socket),
            Line::Listening(_) => found.left_out += 1,
            Line::Connection => return Ok(()),
            Line::Other => {}
        }
    }
}

/// Lines of a table that are read when a connection is looked for: a namespace
/// with more connections is looked through in part.
const MAX_CONNECTION_LINES: usize = 65_536;

/// Inodes of the established connections of a network namespace to one of these
/// ports of others.
pub(super) fn read_connected_to(process_dir: &Path, ports: &[u16]) -> HashSet<u64> {
    let mut found = HashSet::new();
    for name in ["net/tcp", "net/tcp6"] {
        let Ok(file) = File::open(process_dir.join(name)) else { continue };
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        for _ in 0..MAX_CONNECTION_LINES {
            line.clear();
            let read = reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
            if !read.is_ok_and(|length| length > 0) {
                break;
            }
            found.extend(connected_to(&String::from_utf8_lossy(&line), ports));
        }
    }
    found
}

/// The inode of the connection that a line tells of, if it is established and
/// leads to one of these ports.
fn connected_to(line: &str, ports: &[u16]) -> Option<u64> {
    let mut fields = line.split_ascii_whitespace().skip(2);
    let (_, port) = fields.next()?.rsplit_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // TCP_ESTABLISHED is 1.
    let is_established = u8::from_str_radix(fields.next()?, 16).ok()? == 1;
    let inode = fields.nth(5)?.parse().ok()?;
    (is_established && ports.contains(&port)).then_some(inode)
}

/// The descriptors of a process: an item each, `Some` if it is a socket.
#[derive(Debug)]
pub struct SocketInodes {
    entries: ReadDir,
}

impl SocketInodes {
    pub(super) fn open(dir: &Path) -> Result<Self, Error> {
        let entries =
            read_dir(dir).map_err(|source| Error::Read { path: dir.to_owned(), source })?;
        Ok(Self { entries })
    }
}

impl Iterator for SocketInodes {
    type Item = Option<u64>;

    fn next(&mut self) -> Option<Self::Item> {
        // A process that ends meanwhile ends the list; a descriptor that is
        // closed meanwhile is no socket.
        let entry = self.entries.next()?.ok()?;
        Some(
            std::fs::read_link(entry.path())
                .ok()
                .and_then(|target| parse_inode(&target, "socket:[")),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::{TcpListener, TcpStream};

    use proptest::prelude::proptest;

    use super::{Line, ListeningSocket, connected_to};
    use crate::attribution::procfs::ProcRoot;
    use crate::event::ids::Tgid;

    #[test]
    fn lines_of_both_families_are_read() {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
        assert!(matches!(Line::parse(head), Line::Other));
        let v4 = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0 100";
        let v6 = "   1: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A \
                  00000000:00000080 00:00000000 00000000  1000        0 678 1 0 100 0 0 10 0";
        let open = "   2: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 99 1 0";
        assert!(matches!(
            Line::parse(v4),
            Line::Listening(ListeningSocket { port: 8080, inode: 12345 })
        ));
        assert!(matches!(
            Line::parse(v6),
            Line::Listening(ListeningSocket { port: 80, inode: 678 })
        ));
        assert!(matches!(Line::parse(open), Line::Connection));
        assert!(matches!(Line::parse(&v4[..80]), Line::Other));
    }

    #[test]
    fn a_connection_to_a_port_is_told_from_one_from_it() {
        let to = "   2: 0100007F:D431 0100007F:10DD 01 00000000:00000000 00:00000000 00000000     0        0 99 1 0";
        let from = "   3: 0100007F:10DD 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 98 1 0";
        let closing = to.replace(" 01 ", " 06 ");
        assert_eq!(connected_to(to, &[4317, 4318]), Some(99));
        assert_eq!(connected_to(to, &[4318]), None);
        assert_eq!(connected_to(from, &[4317]), None);
        assert_eq!(connected_to(&closing, &[4317]), None);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let process = ProcRoot::default().process(Tgid(std::process::id()));
        assert!(!process.is_connected_to(&[port], 65_536));
        let _connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert!(process.is_connected_to(&[port], 65_536));
    }

    #[test]
    fn this_process_is_found_to_listen_even_beside_connections() {
        let listeners =
            ["127.0.0.1:0", "127.0.0.1:0"].map(|address| TcpListener::bind(address).unwrap());
        let first = TcpStream::connect(listeners[0].local_addr().unwrap()).unwrap();
        let late = TcpListener::bind("127.0.0.1:0").unwrap();
        let duplicate = late.try_clone().unwrap();
        let process = ProcRoot::default().process(Tgid(std::process::id()));
        let all = process.listening_sockets_of_netns(4096).unwrap();
        assert_eq!(all.left_out, 0);
        let held = all.held_by(process.socket_inodes().unwrap(), 65_536);
        let held: BTreeSet<_> = held.iter().map(|socket| socket.port).collect();
        for listener in listeners.iter().chain([&late, &duplicate]) {
            assert!(held.contains(&listener.local_addr().unwrap().port()));
        }
        assert!(!held.contains(&first.local_addr().unwrap().port()));
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_panic(line in "\\PC*") {
            Line::parse(&line);
        }

        #[test]
        fn any_listening_socket_comes_back(port: u16, inode: u64, slot in 0..9999_u32) {
            let line = format!("{slot:4}: 00000000:{port:04X} 00000000:0000 0A 0:0 00:0 0 0 0 {inode} 1 0 100");
            assert!(matches!(Line::parse(&line), Line::Listening(found) if found == ListeningSocket { port, inode }));
        }
    }
}
