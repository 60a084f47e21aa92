//! Writing JSON as Mesos does: no spaces, doubles with a fraction, control characters escaped.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A value with a JSON form. Implemented for every message of `mezzo-mesos`.
pub trait ToJson {
    /// Writes the value; where it stands (after a key, in an array) is the writer's business.
    fn write(&self, w: &mut Writer<'_>);
}

impl<T: ToJson + ?Sized> ToJson for Box<T> {
    fn write(&self, w: &mut Writer<'_>) {
        (**self).write(w);
    }
}

impl<T: ToJson> ToJson for [T] {
    fn write(&self, w: &mut Writer<'_>) {
        w.begin_array();
        for item in self {
            item.write(w);
        }
        w.end_array();
    }
}

/// When a streaming writer hands over what it has. Large, because each piece costs two hand-overs between
/// threads on its way to the network.
pub const CHUNK_BYTES: usize = 240 * 1024;

/// What a streaming writer's buffer begins with: room for an element that crosses [`CHUNK_BYTES`].
const BUFFER_BYTES: usize = CHUNK_BYTES + 16 * 1024;

/// Takes what a streaming writer has written and gives it an empty buffer to go on with.
pub type Sink<'s> = &'s mut dyn FnMut(Vec<u8>) -> Vec<u8>;

/// Builds JSON in one buffer and sets the commas itself.
///
/// With [`Writer::streaming`], [`Writer::pause`] hands full buffers to a sink, so that a document of
/// any size needs about [`CHUNK_BYTES`] of memory.
pub struct Writer<'s> {
    out: Vec<u8>,
    /// Bytes of `out` that were there before.
    floor: usize,
    /// The last byte handed to the sink; 0 before the first.
    carried: u8,
    sink: Option<Sink<'s>>,
}

impl<'s> Writer<'s> {
    /// A writer into a new buffer.
    pub fn new() -> Self {
        Self::appending(Vec::new())
    }

    /// A writer that appends to `out`; [`Writer::finish`] gives it back.
    pub fn appending(out: Vec<u8>) -> Self {
        Writer { floor: out.len(), out, carried: 0, sink: None }
    }

    /// A writer that hands its output to `sink` in pieces of at least [`CHUNK_BYTES`], the last by `finish`.
    pub fn streaming(sink: Sink<'s>) -> Self {
        Writer { out: Vec::with_capacity(BUFFER_BYTES), floor: 0, carried: 0, sink: Some(sink) }
    }

    /// A place where a streaming writer may hand over its buffer; call it between elements of long lists.
    #[inline]
    pub fn pause(&mut self) {
        if self.out.len() >= CHUNK_BYTES {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        let Some(sink) = &mut self.sink else { return };
        if let Some(&last) = self.out.last() {
            self.carried = last;
            self.out = sink(std::mem::take(&mut self.out));
            self.out.clear();
        }
    }

    /// The buffer; empty for a streaming writer, whose sink gets the rest.
    pub fn finish(mut self) -> Vec<u8> {
        self.hand_over();
        self.out
    }

    #[inline]
    fn separate(&mut self) {
        let last = if self.out.len() > self.floor { self.out[self.out.len() - 1] } else { self.carried };
        if !matches!(last, b'{' | b'[' | b':' | 0) {
            self.out.push(b',');
        }
    }

    /// Opens an object, as a value.
    #[inline]
    pub fn begin_object(&mut self) {
        self.separate();
        self.out.push(b'{');
    }

    /// Closes the innermost object.
    #[inline]
    pub fn end_object(&mut self) {
        self.out.push(b'}');
    }

    /// Takes the last closing bracket back, for keys that only some places of an object have.
    pub(crate) fn reopen_object(&mut self) {
        if self.out.last() == Some(&b'}') {
            self.out.pop();
        }
    }

    /// Opens an array, as a value.
    #[inline]
    pub fn begin_array(&mut self) {
        self.separate();
        self.out.push(b'[');
    }

    /// Closes the innermost array.
    #[inline]
    pub fn end_array(&mut self) {
        self.out.push(b']');
    }

    /// A key from data.
    pub fn key(&mut self, key: &str) {
        self.separate();
        escape(&mut self.out, key);
        self.out.push(b':');
    }

    /// A key in its written form, quotes and colon included: `b"\"name\":"`.
    #[inline]
    pub fn raw_key(&mut self, key: &'static [u8]) {
        self.separate();
        self.out.extend_from_slice(key);
    }

    /// JSON that is already written, as a value.
    pub fn raw(&mut self, json: &[u8]) {
        self.separate();
        self.out.extend_from_slice(json);
    }

    /// What `write` writes, without the comma in front of it: to be written again with [`Writer::raw`].
    pub fn piece(&mut self, write: impl FnOnce(&mut Self)) -> &[u8] {
        // Without the sink all of it stays in the buffer.
        let sink = self.sink.take();
        let start = self.out.len();
        write(self);
        self.sink = sink;
        let piece = &self.out[start..];
        piece.strip_prefix(b",").unwrap_or(piece)
    }

    /// A message or anything else with a JSON form.
    pub fn value<T: ToJson + ?Sized>(&mut self, value: &T) {
        value.write(self);
    }

    /// A string.
    #[inline]
    pub fn string(&mut self, text: &str) {
        self.separate();
        escape(&mut self.out, text);
    }

    /// Bytes that are probably text, as one string; what is not UTF-8 becomes U+FFFD.
    pub fn lossy(&mut self, bytes: &[u8]) {
        self.string(&String::from_utf8_lossy(bytes));
    }

    /// A string made of pieces, for texts like `[1-2, 4-4]`.
    pub fn text(&mut self, write: impl FnOnce(&mut TextWriter<'_>)) {
        self.separate();
        self.out.push(b'"');
        write(&mut TextWriter { out: &mut self.out });
        self.out.push(b'"');
    }

    /// The name of an enum value; nothing for a number without a name.
    pub fn name(&mut self, name: Option<&'static str>) {
        if let Some(name) = name {
            self.string(name);
        }
    }

    /// Bytes as standard base64.
    pub fn base64(&mut self, bytes: &[u8]) {
        self.separate();
        self.out.push(b'"');
        let start = self.out.len();
        self.out.resize(start + bytes.len().div_ceil(3) * 4, 0);
        // The slice has exactly the encoded length, the only thing encoding can complain about.
        let written = STANDARD.encode_slice(bytes, &mut self.out[start..]).unwrap_or(0);
        self.out.truncate(start + written);
        self.out.push(b'"');
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, value: bool) {
        self.raw(if value { b"true" } else { b"false" });
    }

    /// `null`.
    pub fn null(&mut self) {
        self.raw(b"null");
    }

    /// A signed integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        self.separate();
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    /// An unsigned integer.
    #[inline]
    pub fn unsigned(&mut self, value: u64) {
        self.separate();
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    /// An amount in thousandths, as a double: `1500` is `1.5`. Cheaper than [`Writer::double`] and the
    /// same text.
    #[inline]
    pub fn thousandths(&mut self, value: i64) {
        self.separate();
        if value < 0 {
            self.out.push(b'-');
        }
        let value = value.unsigned_abs();
        self.out.extend_from_slice(itoa::Buffer::new().format(value / 1000).as_bytes());
        let rest = value % 1000;
        let digits = [b'0' + (rest / 100) as u8, b'0' + (rest / 10 % 10) as u8, b'0' + (rest % 10) as u8];
        let count = if digits[2] != b'0' {
            3
        } else if digits[1] != b'0' {
            2
        } else {
            1
        };
        self.out.push(b'.');
        self.out.extend_from_slice(&digits[..count]);
    }

    /// A double: shortest digits that read back the same, always with a fraction or an exponent.
    ///
    /// Infinity and NaN are bare words, which is not JSON but what Mesos writes (rule 35).
    pub fn double(&mut self, value: f64) {
        self.separate();
        write_double(&mut self.out, value);
    }
}

impl Default for Writer<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// The inside of a string under construction.
pub struct TextWriter<'o> {
    out: &'o mut Vec<u8>,
}

impl TextWriter<'_> {
    /// Text, escaped as needed.
    pub fn push(&mut self, text: &str) {
        escape_inside(self.out, text);
    }

    /// A number in decimal.
    pub fn unsigned(&mut self, value: u64) {
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }
}

#[inline]
fn escape(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    escape_inside(out, text);
    out.push(b'"');
}

fn escape_inside(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let bytes = text.as_bytes();
    // Nearly all strings need no escape.
    if !needs_escape(bytes) {
        out.extend_from_slice(bytes);
        return;
    }
    let mut done = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[done..at]);
        done = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[done..]);
}

/// Whether any byte is a control character, a quote or a backslash. Looks at eight at a time; the last
/// eight may overlap the ones before.
fn needs_escape(bytes: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // The highest bit of some byte is set when some byte is below `limit`, which is at most 128.
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGHS;
    let special = |word: &[u8; 8]| {
        let word = u64::from_ne_bytes(*word);
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        below(word, u64::from(b' ')) | quote | backslash
    };
    let Some(last) = bytes.last_chunk() else {
        return bytes.iter().any(|&byte| byte < b' ' || byte == b'"' || byte == b'\\');
    };
    let (words, _) = bytes.as_chunks();
    words.iter().fold(special(last), |any, word| any | special(word)) != 0
}

/// Whole numbers below this are written digit by digit; all of them are exact in a double.
const WHOLE_MAX: f64 = 1e15;

fn write_double(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
    } else if value.abs() < WHOLE_MAX && value.fract() == 0.0 {
        if value == 0.0 && value.is_sign_negative() {
            out.push(b'-');
        }
        out.extend_from_slice(itoa::Buffer::new().format(value as i64).as_bytes());
        out.extend_from_slice(b".0");
    } else {
        let mut buffer = zmij::Buffer::new();
        let shortest = buffer.format_finite(value);
        if shortest.contains('e') {
            layout_digits(out, shortest)
        } else {
            out.extend_from_slice(shortest.as_bytes())
        }
    }
}

/// Takes shortest digits as zmij lays them out and lays them out as Mesos does: plain from 1e-6 up to
/// 21 digits, otherwise `1.5e30` with neither plus sign nor leading zeros.
fn layout_digits(out: &mut Vec<u8>, shortest: &str) {
    let (sign, rest) = match shortest.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", shortest),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        None => (rest, 0),
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().unwrap_or(0)),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    // value = 0.DIGITS * 10^point
    let mut digits: Vec<u8> = [whole.as_bytes(), fraction.as_bytes()].concat();
    let mut point = whole.len() as i32 + exponent;
    while digits.last() == Some(&b'0') {
        digits.pop();
    }
    let leading = digits.iter().take_while(|&&d| d == b'0').count();
    digits.drain(..leading);
    point -= leading as i32;
    let count = digits.len() as i32;

    out.extend_from_slice(sign.as_bytes());
    if count <= point && point <= 21 {
        out.extend_from_slice(&digits);
        out.resize(out.len() + (point - count) as usize, b'0');
        out.extend_from_slice(b".0");
    } else if 0 < point && point <= 21 {
        out.extend_from_slice(&digits[..point as usize]);
        out.push(b'.');
        out.extend_from_slice(&digits[point as usize..]);
    } else if -6 < point && point <= 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + (-point) as usize, b'0');
        out.extend_from_slice(&digits);
    } else {
        out.push(digits[0]);
        if count > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.push(b'e');
        out.extend_from_slice(itoa::Buffer::new().format(point - 1).as_bytes());
    }
}
