//! A redis client: SET and GET in turns, every reply checked.
//!
//! Separate because RESP is another protocol, and the one by which opaque
//! turns are counted.

use std::net::SocketAddr;

use super::Connection;

/// Sends `count` commands one after the other on one connection, SET and GET
/// of the same key by turns, and gives the number of commands answered rightly.
///
/// # Errors
/// When a reply is not what redis has to answer.
pub fn run(addr: SocketAddr, count: u64) -> anyhow::Result<u64> {
    let mut connection = Connection::open(addr)?;
    for turn in 0..count {
        let value = format!("{:08}", turn / 2);
        if turn % 2 == 0 {
            connection.send(&command(&["SET", "strata", &value]))?;
            expect(&mut connection, "+OK")?;
        } else {
            connection.send(&command(&["GET", "strata"]))?;
            expect(&mut connection, "$8")?;
            expect(&mut connection, &value)?;
        }
    }
    Ok(count)
}

fn expect(connection: &mut Connection, wanted: &str) -> anyhow::Result<()> {
    let line = connection.read_line()?;
    anyhow::ensure!(line == wanted, "redis answered {line:?}, not {wanted:?}");
    Ok(())
}

fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_an_array_of_bulk_strings() {
        assert_eq!(command(&["GET", "k"]), b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    }
}
