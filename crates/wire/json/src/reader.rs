//! Reading JSON into messages in one pass, with the tolerance Mesos has.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::error::{Error, JsonKind, MISSING_MAX, NEAR_MAX};

/// A message that can be read from a JSON object.
pub trait FromJson: Default {
    /// Reads the object that begins at the reader's position into a default value of the message.
    fn read(&mut self, r: &mut Reader<'_>) -> Result<(), Error>;

    /// Bytes of the message in memory, without what it points to.
    const SIZE: usize = size_of::<Self>();
}

impl<T: FromJson> FromJson for Box<T> {
    const SIZE: usize = T::SIZE;

    fn read(&mut self, r: &mut Reader<'_>) -> Result<(), Error> {
        (**self).read(r)
    }
}

/// Deepest nesting of arrays and objects (rule 36); also what keeps recursion within the stack.
pub const DEPTH_MAX: u32 = 200;

/// What messages may take in memory whatever the body: some 400,000 tasks in one call.
const MEMORY_MAX: usize = 1 << 30;

/// What messages may take in memory: this much, and [`MEMORY_RATIO_MAX`] times the body. `{}` may
/// stand for a message of 1 KiB, so a body within its limit could otherwise fill the machine.
const MEMORY_SLACK: usize = 8 * 1024 * 1024;

/// An operation that launches one small task is about 330 bytes of JSON and 2 KiB in memory. Messages
/// within others are counted again, whether or not they are kept behind a pointer.
const MEMORY_RATIO_MAX: usize = 32;

/// The index of a key that the message does not have.
pub(crate) const UNKNOWN: u16 = u16::MAX;

/// A position in a body, with what is needed for errors.
pub struct Reader<'a> {
    input: &'a [u8],
    at: usize,
    depth: u32,
    /// The last thing read is an opening bracket: an element or the closing one follows, no comma.
    opened: bool,
    /// Bytes that messages may still take.
    memory_left: usize,
    path: Vec<Segment>,
    missing: Vec<Missing>,
}

struct Segment {
    number: u32,
    /// Set for an element of a repeated field.
    index: Option<usize>,
    name: &'static str,
}

/// A required field that is absent. Mesos lists those of a message before those of its children, and
/// children by field number, which is the order of `order`.
struct Missing {
    order: Vec<(u32, usize)>,
    path: String,
}

enum Number {
    Unsigned(u64),
    Negative(i64),
    Double(f64),
}

pub(crate) fn read_message<T: FromJson>(input: &[u8]) -> Result<T, Error> {
    parse(input, |r| {
        if r.peek() != Some(b'{') {
            return Err(Error::NotAnObject);
        }
        let mut message = T::default();
        message.read(r)?;
        Ok(message)
    })
}

pub(crate) fn read_list<T: FromJson>(input: &[u8]) -> Result<Vec<T>, Error> {
    parse(input, |r| {
        if r.peek() != Some(b'[') {
            return Err(Error::NotAnArray);
        }
        let mut list = Vec::new();
        r.open_array()?;
        while r.next_element()? {
            if r.peek() != Some(b'{') {
                return Err(Error::NotAnObject);
            }
            r.charge(T::SIZE)?;
            list.push(T::default());
            if let Some(message) = list.last_mut() {
                message.read(r)?;
            }
        }
        Ok(list)
    })
}

fn parse<T>(input: &[u8], read: impl FnOnce(&mut Reader<'_>) -> Result<T, Error>) -> Result<T, Error> {
    let mut reader = Reader::new(input);
    let result = match read(&mut reader) {
        Ok(value) => reader.end().map(|()| value),
        // Mesos reads all of the text before it looks at fields, so wrong text wins over a wrong field.
        Err(error) if !error.is_syntax() => check_syntax(input).and(Err(error)),
        Err(error) => Err(error),
    };
    if result.is_ok() && !reader.missing.is_empty() {
        reader.missing.sort_by(|a, b| a.order.cmp(&b.order));
        return Err(Error::Missing(reader.missing.into_iter().map(|m| m.path).collect()));
    }
    result
}

/// Whether the text is one JSON value, whatever it means.
pub(crate) fn check_syntax(input: &[u8]) -> Result<(), Error> {
    let mut reader = Reader::new(input);
    reader.skip_value()?;
    reader.end()
}

impl<'a> Reader<'a> {
    fn new(input: &'a [u8]) -> Self {
        Reader {
            input,
            at: 0,
            depth: 0,
            opened: false,
            memory_left: MEMORY_SLACK
                .saturating_add(input.len().saturating_mul(MEMORY_RATIO_MAX))
                .min(MEMORY_MAX),
            path: Vec::new(),
            missing: Vec::new(),
        }
    }

    fn end(&mut self) -> Result<(), Error> {
        self.skip_space();
        if self.at < self.input.len() {
            return Err(Error::Trailing { near: excerpt(&self.input[self.at..]) });
        }
        Ok(())
    }

    #[inline]
    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.input.get(self.at) {
            self.at += 1;
        }
    }

    /// The first byte of the next value or punctuation.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        self.skip_space();
        self.input.get(self.at).copied()
    }

    fn line(&self) -> usize {
        1 + self.input[..self.at].iter().filter(|&&b| b == b'\n').count()
    }

    #[cold]
    fn syntax(&self) -> Error {
        let rest = &self.input[self.at..];
        let line_end = rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
        let near: Vec<u8> = rest[..line_end].iter().copied().filter(|&b| b >= b' ').take(NEAR_MAX).collect();
        Error::Syntax { line: self.line(), near: excerpt(&near) }
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Result<(), Error> {
        if self.peek() != Some(byte) {
            return Err(self.syntax());
        }
        self.at += 1;
        Ok(())
    }

    /// Takes `word`, as far as it matches.
    fn literal(&mut self, word: &[u8]) -> Result<(), Error> {
        for &byte in word {
            if self.input.get(self.at) != Some(&byte) {
                return Err(self.syntax());
            }
            self.at += 1;
        }
        Ok(())
    }

    fn enter(&mut self) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.syntax());
        }
        self.opened = true;
        Ok(())
    }

    /// Goes into an object; [`Reader::next_field`] gives its keys.
    #[inline]
    pub fn open_object(&mut self) -> Result<(), Error> {
        self.expect(b'{')?;
        self.enter()
    }

    /// Goes to the value of the next key and tells which field it is, or leaves the object.
    #[inline]
    pub fn next_field(&mut self, field: impl Fn(&[u8]) -> u16) -> Result<Option<u16>, Error> {
        if !self.next_key()? {
            return Ok(None);
        }
        let key = self.text()?;
        let index = field(&key);
        self.expect(b':')?;
        Ok(Some(index))
    }

    /// Goes to the next key; false at the end of the object.
    #[inline]
    fn next_key(&mut self) -> Result<bool, Error> {
        let opened = std::mem::take(&mut self.opened);
        match self.peek() {
            Some(b'}') => {
                self.at += 1;
                self.depth -= 1;
                return Ok(false);
            }
            Some(b',') if !opened => {
                self.at += 1;
                self.skip_space();
            }
            _ if opened => {}
            _ => return Err(self.syntax()),
        }
        if self.input.get(self.at) != Some(&b'"') {
            return Err(self.syntax());
        }
        Ok(true)
    }

    fn open_array(&mut self) -> Result<(), Error> {
        self.expect(b'[')?;
        self.enter()
    }

    /// Goes to the next element; false at the end of the array.
    #[inline]
    fn next_element(&mut self) -> Result<bool, Error> {
        let opened = std::mem::take(&mut self.opened);
        match self.peek() {
            Some(b']') => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            Some(b',') if !opened => {
                self.at += 1;
                Ok(true)
            }
            _ if opened => Ok(true),
            _ => Err(self.syntax()),
        }
    }

    /// Reads an object without known fields.
    pub fn empty_object(&mut self) -> Result<(), Error> {
        self.open_object()?;
        while self.next_field(|_| UNKNOWN)?.is_some() {
            self.skip_value()?;
        }
        Ok(())
    }

    /// Reads any value and forgets it.
    pub fn skip_value(&mut self) -> Result<(), Error> {
        match self.peek() {
            Some(b'{') => self.empty_object(),
            Some(b'[') => {
                self.open_array()?;
                while self.next_element()? {
                    self.skip_value()?;
                }
                Ok(())
            }
            Some(b'"') => self.text().map(drop),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            Some(b'-' | b'0'..=b'9') => self.number_here().map(drop),
            _ => Err(self.syntax()),
        }
    }

    /// The string at the position, borrowed when it holds no escapes.
    #[inline]
    fn text(&mut self) -> Result<Cow<'a, [u8]>, Error> {
        self.expect(b'"')?;
        let start = self.at;
        let rest = &self.input[start..];
        let length = rest.iter().position(|&byte| byte == b'"' || byte == b'\\' || byte < b' ');
        self.at += length.unwrap_or(rest.len());
        match self.input.get(self.at) {
            Some(b'"') => {
                let text = &self.input[start..self.at];
                self.at += 1;
                Ok(Cow::Borrowed(text))
            }
            Some(b'\\') => self.escaped_text(start).map(Cow::Owned),
            _ => Err(self.syntax()),
        }
    }

    fn escaped_text(&mut self, start: usize) -> Result<Vec<u8>, Error> {
        let mut text = self.input[start..self.at].to_vec();
        loop {
            match self.input.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    self.at += 1;
                    self.escape(&mut text)?;
                }
                Some(0..b' ') | None => return Err(self.syntax()),
                Some(&byte) => {
                    text.push(byte);
                    self.at += 1;
                }
            }
        }
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), Error> {
        let Some(&byte) = self.input.get(self.at) else { return Err(self.syntax()) };
        self.at += 1;
        text.push(match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let code = self.code_point()?;
                text.extend_from_slice(code.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(self.syntax()),
        });
        Ok(())
    }

    /// What follows `\u`: one code unit, or a pair of surrogates. Half a pair is an error.
    fn code_point(&mut self) -> Result<char, Error> {
        let first = self.code_unit()?;
        let code = if (0xd800..0xdc00).contains(&first) {
            self.literal(b"\\u")?;
            let second = self.code_unit()?;
            if !(0xdc00..0xe000).contains(&second) {
                return Err(self.syntax());
            }
            0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
        } else {
            first
        };
        char::from_u32(code).ok_or_else(|| self.syntax())
    }

    fn code_unit(&mut self) -> Result<u32, Error> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.input.get(self.at).and_then(|&b| char::from(b).to_digit(16));
            let Some(digit) = digit else { return Err(self.syntax()) };
            unit = unit * 16 + digit;
            self.at += 1;
        }
        Ok(unit)
    }

    fn number_here(&mut self) -> Result<Number, Error> {
        self.skip_space();
        let start = self.at;
        while let Some(b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E') = self.input.get(self.at) {
            self.at += 1;
        }
        parse_number(&self.input[start..self.at]).ok_or_else(|| self.syntax())
    }

    /// The error for a value that the field does not take.
    #[cold]
    fn unexpected(&mut self, field: &'static str) -> Error {
        let kind = match self.peek() {
            Some(b'{') => JsonKind::Object,
            Some(b'[') => JsonKind::Array,
            Some(b'"') => JsonKind::String,
            Some(b't' | b'f') => JsonKind::Boolean,
            Some(b'-' | b'0'..=b'9') => JsonKind::Number,
            _ => return self.syntax(),
        };
        Error::Kind { kind, field }
    }

    /// Accounts for one more message or element.
    #[inline]
    fn charge(&mut self, size: usize) -> Result<(), Error> {
        match self.memory_left.checked_sub(size) {
            Some(left) => {
                self.memory_left = left;
                Ok(())
            }
            None => Err(Error::TooLarge),
        }
    }

    fn null<T>(&mut self) -> Result<Option<T>, Error> {
        self.literal(b"null")?;
        Ok(None)
    }

    fn number(&mut self, field: &'static str) -> Result<Option<Number>, Error> {
        match self.peek() {
            Some(b'-' | b'0'..=b'9') => self.number_here().map(Some),
            Some(b'"') => {
                let text = self.text()?;
                let number = parse_number(text.trim_ascii());
                number.map(Some).ok_or_else(|| wrong_text(JsonKind::Number, &text, field))
            }
            Some(b'n') => self.null(),
            _ => Err(self.unexpected(field)),
        }
    }

    /// A signed 64-bit field.
    pub fn int64(&mut self, field: &'static str) -> Result<Option<i64>, Error> {
        let value = match self.number(field)? {
            None => return Ok(None),
            Some(Number::Unsigned(value)) => i64::try_from(value).ok(),
            Some(Number::Negative(value)) => Some(value),
            Some(Number::Double(value)) => whole(value).and_then(|v| i64::try_from(v).ok()),
        };
        value.map(Some).ok_or(Error::Range { field })
    }

    /// An unsigned 64-bit field.
    pub fn uint64(&mut self, field: &'static str) -> Result<Option<u64>, Error> {
        let value = match self.number(field)? {
            None => return Ok(None),
            Some(Number::Unsigned(value)) => Some(value),
            Some(Number::Negative(_)) => None,
            Some(Number::Double(value)) => whole(value).and_then(|v| u64::try_from(v).ok()),
        };
        value.map(Some).ok_or(Error::Range { field })
    }

    /// A signed 32-bit field.
    pub fn int32(&mut self, field: &'static str) -> Result<Option<i32>, Error> {
        let Some(value) = self.int64(field)? else { return Ok(None) };
        i32::try_from(value).map(Some).map_err(|_| Error::Range { field })
    }

    /// An unsigned 32-bit field.
    pub fn uint32(&mut self, field: &'static str) -> Result<Option<u32>, Error> {
        let Some(value) = self.uint64(field)? else { return Ok(None) };
        u32::try_from(value).map(Some).map_err(|_| Error::Range { field })
    }

    /// A double field; the strings `Infinity` and `-Infinity` are values of it (rule 34).
    pub fn double(&mut self, field: &'static str) -> Result<Option<f64>, Error> {
        if self.peek() == Some(b'"') {
            let text = self.text()?;
            return match &*text {
                b"Infinity" => Ok(Some(f64::INFINITY)),
                b"-Infinity" => Ok(Some(f64::NEG_INFINITY)),
                other => match parse_number(other.trim_ascii()) {
                    Some(number) => Ok(Some(as_double(number))),
                    None => Err(wrong_text(JsonKind::Number, other, field)),
                },
            };
        }
        Ok(self.number(field)?.map(as_double))
    }

    /// A float field.
    pub fn float(&mut self, field: &'static str) -> Result<Option<f32>, Error> {
        Ok(self.double(field)?.map(|value| value as f32))
    }

    /// A bool field.
    pub fn boolean(&mut self, field: &'static str) -> Result<Option<bool>, Error> {
        match self.peek() {
            Some(b't') => self.literal(b"true").map(|()| Some(true)),
            Some(b'f') => self.literal(b"false").map(|()| Some(false)),
            Some(b'n') => self.null(),
            Some(b'"') => {
                let text = self.text()?;
                match text.trim_ascii() {
                    b"true" => Ok(Some(true)),
                    b"false" => Ok(Some(false)),
                    _ => Err(wrong_text(JsonKind::Boolean, &text, field)),
                }
            }
            _ => Err(self.unexpected(field)),
        }
    }

    /// A string field.
    pub fn string(&mut self, field: &'static str) -> Result<Option<String>, Error> {
        match self.peek() {
            Some(b'"') => self.utf8().map(Some),
            Some(b'n') => self.null(),
            _ => Err(self.unexpected(field)),
        }
    }

    fn utf8(&mut self) -> Result<String, Error> {
        let text = self.text()?;
        String::from_utf8(text.into_owned()).map_err(|_| Error::Utf8 { line: self.line() })
    }

    /// A bytes field.
    pub fn bytes(&mut self, field: &'static str) -> Result<Option<Vec<u8>>, Error> {
        match self.peek() {
            Some(b'"') => {
                let text = self.text()?;
                decode_base64(&text).map(Some).map_err(|why| Error::Base64 { field, why })
            }
            Some(b'n') => self.null(),
            _ => Err(self.unexpected(field)),
        }
    }

    /// An enum field; a name the enum does not have counts as absent, but is an error when required (rule 29).
    pub fn enumeration(
        &mut self,
        field: &'static str,
        required: bool,
        number: fn(&[u8]) -> Option<i32>,
    ) -> Result<Option<i32>, Error> {
        match self.peek() {
            Some(b'"') => {
                let name = self.text()?;
                let number = number(&name);
                if number.is_none() && required {
                    return Err(Error::UnknownEnum { name: excerpt(&name) });
                }
                Ok(number)
            }
            Some(b'n') => self.null(),
            _ => Err(self.unexpected(field)),
        }
    }

    /// A message as a value of its own: in a oneof or a map.
    pub fn message<T: FromJson>(&mut self, number: u32, name: &'static str) -> Result<Option<T>, Error> {
        let mut slot = None;
        self.message_into(number, name, &mut slot)?;
        Ok(slot)
    }

    /// A message field, read in place: messages are large, and moving them costs more than reading them.
    pub fn message_into<T: FromJson>(
        &mut self,
        number: u32,
        name: &'static str,
        slot: &mut Option<T>,
    ) -> Result<(), Error> {
        *slot = None;
        if self.begins_message(number, name)? {
            self.child(Segment { number, index: None, name }, slot.insert(T::default()))?;
        }
        Ok(())
    }

    /// A required message field, read in place; whether it is there.
    pub fn required_message<T: FromJson>(
        &mut self,
        number: u32,
        name: &'static str,
        slot: &mut T,
    ) -> Result<bool, Error> {
        if !self.begins_message(number, name)? {
            return Ok(false);
        }
        *slot = T::default();
        self.child(Segment { number, index: None, name }, slot)?;
        Ok(true)
    }

    fn begins_message(&mut self, number: u32, name: &'static str) -> Result<bool, Error> {
        self.forget_missing(number);
        match self.peek() {
            Some(b'{') => Ok(true),
            Some(b'n') => self.null::<()>().map(|_| false),
            _ => Err(self.unexpected(name)),
        }
    }

    fn child<T: FromJson>(&mut self, segment: Segment, message: &mut T) -> Result<(), Error> {
        self.charge(T::SIZE)?;
        self.path.push(segment);
        message.read(self)?;
        self.path.pop();
        Ok(())
    }

    /// A repeated message field: an array (of arrays), or a single element (rule 32).
    pub fn messages<T: FromJson>(
        &mut self,
        number: u32,
        name: &'static str,
        list: &mut Vec<T>,
    ) -> Result<(), Error> {
        self.forget_missing(number);
        self.more_messages(number, name, list)
    }

    fn more_messages<T: FromJson>(
        &mut self,
        number: u32,
        name: &'static str,
        list: &mut Vec<T>,
    ) -> Result<(), Error> {
        match self.peek() {
            Some(b'{') => {
                let segment = Segment { number, index: Some(list.len()), name };
                list.push(T::default());
                match list.last_mut() {
                    Some(item) => self.child(segment, item),
                    None => Ok(()),
                }
            }
            Some(b'[') => {
                self.open_array()?;
                while self.next_element()? {
                    self.more_messages(number, name, list)?;
                }
                Ok(())
            }
            Some(b'n') => self.null::<()>().map(drop),
            _ => Err(self.unexpected(name)),
        }
    }

    /// A repeated field of values; `read` reads one.
    pub fn repeated<T>(
        &mut self,
        list: &mut Vec<T>,
        read: impl Fn(&mut Self) -> Result<Option<T>, Error> + Copy,
    ) -> Result<(), Error> {
        if self.peek() != Some(b'[') {
            self.charge(size_of::<T>())?;
            list.extend(read(self)?);
            return Ok(());
        }
        self.open_array()?;
        while self.next_element()? {
            self.repeated(list, read)?;
        }
        Ok(())
    }

    /// A map field with string keys; `read` reads one value. A value that counts as absent is its default.
    pub fn map<T: Default>(
        &mut self,
        number: u32,
        name: &'static str,
        map: &mut BTreeMap<String, T>,
        read: impl Fn(&mut Self) -> Result<Option<T>, Error> + Copy,
    ) -> Result<(), Error> {
        self.forget_missing(number);
        match self.peek() {
            Some(b'{') => {
                self.open_object()?;
                while self.next_key()? {
                    let key = self.utf8()?;
                    self.expect(b':')?;
                    self.charge(size_of::<(String, T)>())?;
                    self.path.push(Segment { number, index: Some(map.len()), name });
                    let value = read(self)?.unwrap_or_default();
                    self.path.pop();
                    map.insert(key, value);
                }
                Ok(())
            }
            Some(b'n') => self.null::<()>().map(drop),
            _ => Err(self.unexpected(name)),
        }
    }

    /// Notes the required fields whose bit is not in `seen`; they are reported when all is read.
    #[cold]
    pub fn missing(&mut self, seen: u64, names: &[&'static str]) {
        for (bit, name) in names.iter().enumerate().filter(|&(bit, _)| seen & (1 << bit) == 0) {
            if self.missing.len() == MISSING_MAX {
                return;
            }
            let mut order: Vec<_> = self.path.iter().map(|s| (s.number, s.index.unwrap_or(0))).collect();
            order.push((0, bit));
            let mut path = String::new();
            for segment in &self.path {
                path.push_str(segment.name);
                if let Some(index) = segment.index {
                    path.push_str(&format!("[{index}]"));
                }
                path.push('.');
            }
            path.push_str(name);
            self.missing.push(Missing { order, path });
        }
    }

    /// A repeated key replaces the value before it, and what that one lacked does not count.
    #[inline]
    fn forget_missing(&mut self, number: u32) {
        if !self.missing.is_empty() {
            let path = &self.path;
            self.missing.retain(|missing| {
                let same =
                    path.iter().zip(&missing.order).all(|(s, o)| (s.number, s.index.unwrap_or(0)) == *o);
                !(same && missing.order.get(path.len()).is_some_and(|o| o.0 == number))
            });
        }
    }
}

fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(NEAR_MAX)]).into_owned()
}

fn wrong_text(kind: JsonKind, text: &[u8], field: &'static str) -> Error {
    Error::Text { kind, text: excerpt(text), field }
}

fn parse_number(text: &[u8]) -> Option<Number> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        _ => (false, text),
    };
    if !digits.first()?.is_ascii_digit() {
        return None;
    }
    let mut value = 0u64;
    let mut exact = true;
    for &byte in digits {
        let next = value.checked_mul(10).and_then(|v| v.checked_add(u64::from(byte.wrapping_sub(b'0'))));
        match next {
            Some(next) if byte.is_ascii_digit() => value = next,
            _ => {
                exact = false;
                break;
            }
        }
    }
    if exact && !negative {
        return Some(Number::Unsigned(value));
    }
    if exact && let Some(value) = 0i64.checked_sub_unsigned(value) {
        return Some(Number::Negative(value));
    }
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    value.is_finite().then_some(Number::Double(value))
}

fn as_double(number: Number) -> f64 {
    match number {
        Number::Unsigned(value) => value as f64,
        Number::Negative(value) => value as f64,
        Number::Double(value) => value,
    }
}

/// The whole part of a double, cut off towards zero as a C++ cast does.
fn whole(value: f64) -> Option<i128> {
    (value.abs() < 1e30).then_some(value.trunc() as i128)
}

/// Standard base64 with or without padding; white space between the digits is skipped.
pub(crate) fn decode_base64(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut group, mut bits) = (0u32, 0u32);
    for &byte in text {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => break,
            b' ' | b'\n' | b'\r' | b'\t' => continue,
            _ => return Err(format!("Invalid character '{}'", char::from(byte))),
        };
        group = (group << 6) | u32::from(digit);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((group >> bits) as u8);
        }
    }
    Ok(bytes)
}
