//! Keys, the short ones in place.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};

/// As long as a key may be to be kept in place.
const SHORT: usize = 22;

/// The bytes of a key. Most keys are short, and to follow a pointer to compare one costs more than all else about finding it.
#[derive(Clone)]
pub(super) enum Key {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(Box<[u8]>),
}

const _: () = assert!(size_of::<Key>() == 24);

impl Key {
    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short { length, bytes } => &bytes[..usize::from(*length)],
            Self::Long(bytes) => bytes,
        }
    }
}

impl From<&[u8]> for Key {
    fn from(key: &[u8]) -> Self {
        let mut bytes = [0; SHORT];
        match bytes.get_mut(..key.len()) {
            Some(place) => {
                place.copy_from_slice(key);
                Self::Short { length: key.len() as u8, bytes }
            }
            None => Self::Long(key.into()),
        }
    }
}

impl std::ops::Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes()
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self.bytes()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.bytes().cmp(other.bytes())
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes().hash(state);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bytes().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn keys_of_every_length_are_found_by_their_bytes() {
        let bytes = [b'k'; 2 * SHORT];
        let lengths = 0..bytes.len();
        let map: HashMap<Key, usize> =
            lengths.clone().map(|length| (Key::from(&bytes[..length]), length)).collect();
        for length in lengths {
            assert_eq!(map.get(&bytes[..length]), Some(&length));
            assert_eq!(matches!(Key::from(&bytes[..length]), Key::Short { .. }), length <= SHORT);
        }
    }
}
