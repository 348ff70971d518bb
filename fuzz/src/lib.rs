//! The fuzz targets' common part. Its only module is also a part of the crate's tests, which replay the corpus with it.

pub mod oracles;
