//! Kernel type information: where fields are, and what arguments hooks have.
//!
//! aya reads BTF to load programs but does not show members, so this is a
//! small reader of our own: it walks struct members by path
//! (`__sk_common.skc_net.net`) and counts tracepoint arguments. Layout by
//! Documentation/bpf/btf.rst.

use std::collections::HashMap;

/// Why type information cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error(
        "kernel type information at {path} cannot be read ({source}); \
         strata needs a kernel with CONFIG_DEBUG_INFO_BTF=y"
    )]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The bytes are not BTF.
    #[error("kernel type information is malformed at byte {at}")]
    Malformed {
        /// Where.
        at: usize,
    },
}

/// Where a field lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Bytes from the start of the outer structure.
    pub offset: u32,
    /// For a bit field the bit within that byte; 0 otherwise.
    pub bit: u32,
}

const MAGIC: u16 = 0xeb9f;
const KIND_INT: u32 = 1;
const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_FWD: u32 = 7;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_FLOAT: u32 = 16;
const KIND_DECL_TAG: u32 = 17;
const KIND_TYPE_TAG: u32 = 18;
const KIND_ENUM64: u32 = 19;

/// Longest chain of typedefs and qualifiers that is followed.
const MAX_CHAIN: usize = 32;
/// Deepest nesting of anonymous structures that is searched.
const MAX_DEPTH: usize = 16;

/// The running kernel's types.
pub struct Btf {
    bytes: Vec<u8>,
    strings_at: usize,
    /// Offset of each type's record, by type id (0 is void).
    types: Vec<usize>,
    structs: HashMap<String, u32>,
    typedefs: HashMap<String, u32>,
}

impl Btf {
    /// Reads the kernel's own, at `/sys/kernel/btf/vmlinux`.
    ///
    /// # Errors
    ///
    /// If the kernel has none, or it cannot be understood.
    pub fn of_kernel() -> Result<Self, Error> {
        let path = "/sys/kernel/btf/vmlinux";
        let bytes = std::fs::read(path)
            .map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
        Self::parse(bytes)
    }

    /// Reads raw BTF.
    ///
    /// # Errors
    ///
    /// If the bytes are not little-endian BTF.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, Error> {
        let mut btf = Self {
            bytes,
            strings_at: 0,
            types: vec![0],
            structs: HashMap::new(),
            typedefs: HashMap::new(),
        };
        if btf.u32(0)? & 0xffff != u32::from(MAGIC) {
            return Err(Error::Malformed { at: 0 });
        }
        let header_len = btf.u32(4)? as usize;
        let types_at = header_len.saturating_add(btf.u32(8)? as usize);
        let types_end = types_at.saturating_add(btf.u32(12)? as usize);
        btf.strings_at = header_len.saturating_add(btf.u32(16)? as usize);
        let mut at = types_at;
        while at < types_end {
            let id = btf.types.len() as u32;
            btf.types.push(at);
            let info = btf.u32(at + 4)?;
            let kind = info >> 24 & 0x1f;
            let count = (info & 0xffff) as usize;
            if kind == KIND_STRUCT || kind == KIND_TYPEDEF {
                let name = btf.name(btf.u32(at)?)?.to_owned();
                let names = if kind == KIND_STRUCT { &mut btf.structs } else { &mut btf.typedefs };
                names.entry(name).or_insert(id);
            }
            at += 12
                + match kind {
                    KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
                    KIND_ARRAY => 12,
                    KIND_STRUCT | KIND_UNION | KIND_ENUM64 | KIND_DATASEC => 12 * count,
                    KIND_ENUM | KIND_FUNC_PROTO => 8 * count,
                    KIND_PTR | KIND_FWD | KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST
                    | KIND_RESTRICT | KIND_FUNC | KIND_FLOAT | KIND_TYPE_TAG => 0,
                    _ => return Err(Error::Malformed { at }),
                };
        }
        Ok(btf)
    }

    /// Where `path` (members joined by dots, anonymous ones left out) lies in
    /// `struct name`.
    #[must_use]
    pub fn field(&self, name: &str, path: &str) -> Option<Field> {
        let mut id = *self.structs.get(name)?;
        let mut bits = 0;
        for member in path.split('.') {
            let (member_bits, member_type) = self.member(id, member, 0)?;
            bits += member_bits;
            id = self.resolve(member_type)?;
        }
        Some(Field { offset: bits / 8, bit: bits % 8 })
    }

    /// Number of arguments of the tracepoint `name`, its context left out;
    /// `None` if the kernel has no such tracepoint.
    #[must_use]
    pub fn tracepoint_args(&self, name: &str) -> Option<u32> {
        let typedef = *self.typedefs.get(&format!("btf_trace_{name}"))?;
        let pointer = *self.types.get(typedef as usize)?;
        let pointer = self.u32(pointer + 8).ok()?;
        let pointer_at = *self.types.get(pointer as usize)?;
        let proto = self.u32(pointer_at + 8).ok()?;
        let proto_at = *self.types.get(proto as usize)?;
        let info = self.u32(proto_at + 4).ok()?;
        if info >> 24 & 0x1f != KIND_FUNC_PROTO {
            return None;
        }
        // The first is `void *__data`.
        Some((info & 0xffff).saturating_sub(1))
    }

    /// Bit offset and type of a member, found in anonymous members as well.
    fn member(&self, id: u32, name: &str, depth: usize) -> Option<(u32, u32)> {
        if depth > MAX_DEPTH {
            return None;
        }
        let at = *self.types.get(id as usize)?;
        let info = self.u32(at + 4).ok()?;
        let kind = info >> 24 & 0x1f;
        if kind != KIND_STRUCT && kind != KIND_UNION {
            return None;
        }
        let has_bit_fields = info >> 31 != 0;
        for i in 0..(info & 0xffff) as usize {
            let member_at = at + 12 + 12 * i;
            let member_name = self.name(self.u32(member_at).ok()?).ok()?;
            let member_type = self.u32(member_at + 4).ok()?;
            let raw = self.u32(member_at + 8).ok()?;
            let bits = if has_bit_fields { raw & 0x00ff_ffff } else { raw };
            if member_name == name {
                return Some((bits, member_type));
            }
            if member_name.is_empty()
                && let Some(inner) = self.resolve(member_type)
                && let Some((inner_bits, found)) = self.member(inner, name, depth + 1)
            {
                return Some((bits + inner_bits, found));
            }
        }
        None
    }

    /// Follows typedefs and qualifiers to the type that they name.
    fn resolve(&self, mut id: u32) -> Option<u32> {
        for _ in 0..MAX_CHAIN {
            let at = *self.types.get(id as usize)?;
            let kind = self.u32(at + 4).ok()? >> 24 & 0x1f;
            match kind {
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => {
                    id = self.u32(at + 8).ok()?;
                }
                _ => return Some(id),
            }
        }
        None
    }

    fn u32(&self, at: usize) -> Result<u32, Error> {
        let bytes = self.bytes.get(at..at.saturating_add(4));
        let bytes: Option<[u8; 4]> = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_le_bytes).ok_or(Error::Malformed { at })
    }

    fn name(&self, offset: u32) -> Result<&str, Error> {
        let at = self.strings_at.saturating_add(offset as usize);
        let bytes = self.bytes.get(at..).ok_or(Error::Malformed { at })?;
        let end = bytes.iter().position(|byte| *byte == 0).ok_or(Error::Malformed { at })?;
        std::str::from_utf8(&bytes[..end]).map_err(|_invalid| Error::Malformed { at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_and_hooks_of_the_running_kernel_are_found() {
        let Ok(btf) = Btf::of_kernel() else { return };
        assert_eq!(btf.field("sock", "__sk_common.skc_daddr"), Some(Field { offset: 0, bit: 0 }));
        assert!(btf.field("task_struct", "thread.fsbase").is_some());
        assert!(btf.field("task_struct", "no_such_field").is_none());
        assert_eq!(btf.tracepoint_args("sched_wakeup"), Some(1));
        assert_eq!(btf.tracepoint_args("no_such_hook"), None);
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..256), real in any::<bool>()) {
            if real && bytes.len() > 24 {
                bytes[0..8].copy_from_slice(&[0x9f, 0xeb, 1, 0, 24, 0, 0, 0]);
            }
            let _ = Btf::parse(bytes);
        }
    }
}
