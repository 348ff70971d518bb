//! One source file as tokens, and what can be read off them: imports, functions, lines of code. Knows Rust's tokens and
//! `use` trees; does not know which of them are allowed.

use std::collections::{BTreeSet, HashMap};

/// A source file without comments, string contents and what only tests see.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// From the root of the repository.
    pub(crate) path: String,
    pub(crate) tokens: Vec<Token>,
    /// The module that the file is, from the root of its crate.
    module: Vec<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Token {
    /// A word, `::`, a single sign, or a quote for a string.
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// A path into a crate, from the crate's root.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Import<'a> {
    pub(crate) path: Vec<&'a str>,
    pub(crate) line: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function<'a> {
    pub(crate) name: &'a str,
    pub(crate) line: usize,
    /// Lines of code from its `fn` to its closing brace.
    pub(crate) lines: usize,
}

impl Source {
    /// `path` is the file's place below `root`, the folder with the crate's `lib.rs`.
    pub(crate) fn new(root: &str, path: &str, text: &str) -> Self {
        let mut module: Vec<_> = path
            .trim_end_matches(".rs")
            .split('/')
            .map(str::to_owned)
            .collect();
        if module
            .last()
            .is_some_and(|last| ["mod", "lib"].contains(&last.as_str()))
        {
            module.pop();
        }
        Self {
            path: format!("{root}/{path}"),
            tokens: without_tests(tokens(text)),
            module,
        }
    }

    pub(crate) fn is_root(&self) -> bool {
        self.module.is_empty()
    }

    /// The top-level module that the file belongs to.
    pub(crate) fn room(&self) -> &str {
        self.module.first().map_or("lib.rs", String::as_str)
    }

    /// What the crate's root exports from its modules: the name, and the module it stands in.
    pub(crate) fn exports(&self) -> HashMap<&str, &str> {
        let uses = (0..self.tokens.len()).filter(|&at| self.tokens[at].is("use"));
        let leaves = uses.flat_map(|at| self.tree(at + 1).0);
        let inside = leaves.filter_map(|leaf| {
            let mut path = leaf
                .path
                .into_iter()
                .skip_while(|s| ["crate", "self"].contains(s));
            Some((leaf.name, path.next()?))
        });
        inside.collect()
    }

    /// Every path that begins with `crate`, `super` or `self`, in a `use` or not.
    pub(crate) fn own_imports(&self) -> Vec<Import<'_>> {
        let mut found = Vec::new();
        let mut inline: Vec<(&str, usize)> = Vec::new();
        let mut depth = 0;
        let mut at = 0;
        while at < self.tokens.len() {
            match self.tokens[at].text.as_str() {
                "mod" if self.word(at + 2) == "{" => inline.push((self.word(at + 1), depth)),
                "{" => depth += 1,
                "}" => {
                    depth -= 1;
                    inline.pop_if(|(_, outer)| *outer == depth);
                }
                "crate" | "super" | "self" if self.begins_path(at) => {
                    let (leaves, end) = self.tree(at);
                    let module = self.module.iter().map(String::as_str);
                    let module: Vec<_> =
                        module.chain(inline.iter().map(|(name, _)| *name)).collect();
                    let line = self.tokens[at].line;
                    found.extend(leaves.iter().map(|l| Import {
                        path: resolve(&module, &l.path),
                        line,
                    }));
                    at = end;
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        found
    }

    /// Every path that begins with the name of another crate.
    pub(crate) fn imports_of_crate(&self, name: &str) -> Vec<Import<'_>> {
        let heads = (0..self.tokens.len()).filter(|&at| self.tokens[at].is(name));
        let leaves = heads.flat_map(|at| {
            let line = self.tokens[at].line;
            self.tree(at).0.into_iter().map(move |leaf| Import {
                path: leaf.path[1..].to_vec(),
                line,
            })
        });
        leaves.collect()
    }

    pub(crate) fn lines_of_code(&self) -> usize {
        lines(&self.tokens)
    }

    /// Every function with a body, those inside of others too.
    pub(crate) fn functions(&self) -> Vec<Function<'_>> {
        let heads = (0..self.tokens.len()).filter(|&at| self.tokens[at].is("fn"));
        let named = heads.filter(|&at| self.word(at + 1).starts_with(is_word));
        let whole = named.filter_map(|at| {
            let end = end_of_item(&self.tokens, at);
            self.tokens[..end]
                .last()
                .is_some_and(|t| t.is("}"))
                .then(|| Function {
                    name: self.word(at + 1),
                    line: self.tokens[at].line,
                    lines: lines(&self.tokens[at..end]),
                })
        });
        whole.collect()
    }

    fn word(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |t| &t.text)
    }

    fn begins_path(&self, at: usize) -> bool {
        self.word(at + 1) == "::" && (at == 0 || self.word(at - 1) != "::")
    }

    /// The paths of the `use` tree, or the single path, that begins at `at`, and the place after it.
    fn tree(&self, mut at: usize) -> (Vec<Leaf<'_>>, usize) {
        let mut path = Vec::new();
        loop {
            match self.word(at) {
                "{" => {
                    let (mut leaves, end) = self.group(at + 1);
                    for leaf in &mut leaves {
                        leaf.path = [path.as_slice(), &leaf.path].concat();
                    }
                    return (leaves, end);
                }
                word if word == "*" || word.starts_with(is_word) => path.push(word),
                _ => {}
            }
            match self.word(at + 1) {
                "::" => at += 2,
                "as" => {
                    return (
                        vec![Leaf {
                            path,
                            name: self.word(at + 2),
                        }],
                        at + 3,
                    );
                }
                _ => {
                    return (
                        vec![Leaf {
                            name: path.last().copied().unwrap_or(""),
                            path,
                        }],
                        at + 1,
                    );
                }
            }
        }
    }

    /// The paths between the braces of which the first ends before `at`, and the place after them.
    fn group(&self, mut at: usize) -> (Vec<Leaf<'_>>, usize) {
        let mut leaves = Vec::new();
        while !["}", ""].contains(&self.word(at)) {
            let (inner, end) = self.tree(at);
            leaves.extend(inner);
            at = if self.word(end) == "," { end + 1 } else { end };
        }
        (leaves, at + 1)
    }
}

/// The end of one branch of a `use` tree.
struct Leaf<'a> {
    path: Vec<&'a str>,
    /// What it is called where it is imported.
    name: &'a str,
}

impl Token {
    pub(crate) fn is(&self, text: &str) -> bool {
        self.text == text
    }
}

/// The path from the crate's root that `path` means inside `module`.
fn resolve<'a>(module: &[&'a str], path: &[&'a str]) -> Vec<&'a str> {
    let mut absolute = if path[0] == "crate" {
        Vec::new()
    } else {
        module.to_vec()
    };
    for segment in path {
        match *segment {
            "crate" | "self" => {}
            "super" => {
                absolute.pop();
            }
            name => absolute.push(name),
        }
    }
    absolute
}

fn lines(tokens: &[Token]) -> usize {
    tokens.iter().map(|t| t.line).collect::<BTreeSet<_>>().len()
}

/// The place after the item that begins at `at`: after its `;`, or the brace that closes it.
fn end_of_item(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 0;
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" => depth -= 1,
            "}" => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
        at += 1;
    }
    at
}

/// Drops each item under `#[cfg(test)]`.
fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    let guard = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        let rest = &tokens[at..];
        if rest.len() > guard.len() && guard.iter().zip(rest).all(|(text, token)| token.is(text)) {
            at += guard.len();
            // Further attributes belong to the same item.
            while tokens.get(at).is_some_and(|t| t.is("#")) {
                at = end_of_brackets(&tokens, at + 1);
            }
            at = end_of_item(&tokens, at);
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

fn end_of_brackets(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 0;
    while at < tokens.len() {
        depth += i32::from(tokens[at].is("[")) - i32::from(tokens[at].is("]"));
        at += 1;
        if depth == 0 {
            break;
        }
    }
    at
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (kind, length) = next_piece(rest, first);
        let piece = &rest[..length];
        match kind {
            Piece::Nothing => {}
            Piece::Token => tokens.push(Token {
                text: piece.to_owned(),
                line,
            }),
            // Once for each of its lines: they are lines of code.
            Piece::Literal => tokens.extend((0..piece.split('\n').count()).map(|n| Token {
                text: "\"".into(),
                line: line + n,
            })),
        }
        line += piece.matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

enum Piece {
    /// White space or a comment.
    Nothing,
    Token,
    /// A string or a character.
    Literal,
}

/// What `rest` begins with, and its length in bytes.
fn next_piece(rest: &str, first: char) -> (Piece, usize) {
    if rest.starts_with("//") {
        return (Piece::Nothing, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Piece::Nothing, block_comment(rest));
    }
    if first.is_whitespace() {
        return (Piece::Nothing, first.len_utf8());
    }
    if let Some(length) = string(rest).or_else(|| character(rest)) {
        return (Piece::Literal, length);
    }
    if is_word(first) {
        return (
            Piece::Token,
            rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
        );
    }
    (
        Piece::Token,
        if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        },
    )
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// The length of the string literal at the beginning of `rest`, raw or not.
fn string(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r"]
        .into_iter()
        .find(|p| rest.starts_with(p))
        .unwrap_or("");
    let after = &rest[prefix.len()..];
    if !prefix.ends_with('r') {
        return after
            .starts_with('"')
            .then(|| prefix.len() + quoted(after, '"'));
    }
    let marks = after.len() - after.trim_start_matches('#').len();
    let inside = after[marks..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(marks));
    let length = inside
        .find(&close)
        .map_or(inside.len(), |at| at + close.len());
    Some(prefix.len() + marks + 1 + length)
}

/// The length of the character literal at the beginning of `rest`; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let prefix = usize::from(rest.starts_with("b'"));
    let after = &rest[prefix..];
    let mut inside = after.strip_prefix('\'')?.chars();
    let first = inside.next()?;
    (first == '\\' || inside.next() == Some('\'')).then(|| prefix + quoted(after, '\''))
}

/// The length of a literal that begins with `quote` and may hold escapes.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    rest.len()
}
