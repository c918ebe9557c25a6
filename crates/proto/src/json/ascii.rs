//! JSON text without a byte above 0x7f.

use std::io;

use serde_json::ser::Formatter;

/// Writes compact JSON with every character beyond ASCII as `\uXXXX`, beyond the basic plane as a surrogate pair.
///
/// Some clients of event streams cut records by characters although lengths count bytes; in ASCII both are the same.
#[derive(Debug, Clone, Copy, Default)]
pub struct AsciiFormatter;

impl Formatter for AsciiFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if fragment.is_ascii() {
            return writer.write_all(fragment.as_bytes());
        }
        for c in fragment.chars() {
            if c.is_ascii() {
                writer.write_all(&[c as u8])?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}
