//! Golden files for tests: a changed decision is a diff that a person reviews.

use std::path::Path;

/// Compares with the file below the project's root; `MMM_BLESS=1` writes it instead.
pub(crate) fn check(file: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("MMM_BLESS").is_some() {
        std::fs::write(&path, actual).expect("write the golden file");
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if let Some((number, (want, got))) = expected
        .lines()
        .zip(actual.lines())
        .enumerate()
        .find(|(_, (want, got))| want != got)
    {
        panic!(
            "{file}:{}: expected `{want}`, got `{got}`; MMM_BLESS=1 accepts it",
            number + 1
        );
    }
    assert_eq!(
        expected.lines().count(),
        actual.lines().count(),
        "{file}: length differs; MMM_BLESS=1 accepts it"
    );
}
