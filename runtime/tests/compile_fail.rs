//! Wrong use of the attributes is a compile error on the text that is wrong, and the error says what is right.

#[test]
fn wrong_attributes_are_explained() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
