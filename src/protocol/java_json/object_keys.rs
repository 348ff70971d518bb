//! Maps whose keys are objects, for `#[serde(with = "java_json::object_keys")]`.
//!
//! A key is the text of its own JSON in standard form; [`to_vec`](super::to_vec) writes it as Java does. A `null` is an empty map.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, Error as _, MapAccess, Visitor},
    ser::{Error as _, SerializeMap},
};

/// Writes the entries of a map, each key as its JSON text.
///
/// # Errors
///
/// Those of the serializer, and if a key cannot be written as JSON.
pub fn serialize<'a, S, M, K, V>(map: &'a M, serializer: S) -> Result<S::Ok, S::Error>
where
    S: Serializer,
    &'a M: IntoIterator<Item = (&'a K, &'a V)>,
    K: Serialize + 'a,
    V: Serialize + 'a,
{
    let mut entries = serializer.serialize_map(None)?;
    for (key, value) in map {
        let key = serde_json::to_string(key).map_err(S::Error::custom)?;
        entries.serialize_entry(&key, value)?;
    }
    entries.end()
}

/// Reads the entries of a map, each key from its JSON text.
///
/// # Errors
///
/// Those of the deserializer, and if a key is no JSON or no `K`.
pub fn deserialize<'de, D, M, K, V>(deserializer: D) -> Result<M, D::Error>
where
    D: Deserializer<'de>,
    M: FromIterator<(K, V)>,
    K: DeserializeOwned,
    V: Deserialize<'de>,
{
    // By way of a list, since reading an entry can fail and `FromIterator` cannot.
    deserializer
        .deserialize_any(Entries(PhantomData))
        .map(M::from_iter)
}

struct Entries<K, V>(PhantomData<(K, V)>);

impl<'de, K: DeserializeOwned, V: Deserialize<'de>> Visitor<'de> for Entries<K, V> {
    type Value = Vec<(K, V)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map with objects as keys")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            let key = serde_json::from_str(&key).map_err(A::Error::custom)?;
            entries.push((key, map.next_value()?));
        }
        Ok(entries)
    }
}
