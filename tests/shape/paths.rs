//! The names in a Rust file: every path with its `use` trees unfolded and its `super`s resolved.

use std::str::FromStr;

use proc_macro2::{Delimiter, LexError, TokenStream, TokenTree};

/// A path from the crate's root (`crate`, `store`, `Store`) or from another crate (`std`, `fs`).
pub(crate) struct FullPath(Vec<String>);

impl FullPath {
    /// The top-level module of this crate that the path goes through.
    pub(crate) fn top(&self) -> Option<String> {
        (self.0[0] == "crate").then(|| self.0.get(1).cloned()).flatten()
    }

    pub(crate) fn starts_with_path(&self, prefix: &str) -> bool {
        let prefix: Vec<&str> = prefix.split("::").collect();
        self.0.len() >= prefix.len() && self.0.iter().zip(prefix).all(|(a, b)| a == b)
    }
}

pub(crate) struct Named {
    pub(crate) path: FullPath,
    pub(crate) line: usize,
}

pub(crate) struct Tokens(Vec<TokenTree>);

impl Tokens {
    pub(crate) fn parse(text: &str) -> Result<Self, LexError> {
        Ok(Self::of(TokenStream::from_str(text)?))
    }

    fn of(stream: TokenStream) -> Self {
        Self(stream.into_iter().collect())
    }

    /// The line where a word first stands as a word.
    pub(crate) fn line_of(&self, word: &str) -> Option<usize> {
        self.0.iter().find_map(|token| match token {
            TokenTree::Group(group) => Self::of(group.stream()).line_of(word),
            TokenTree::Ident(ident) if ident == word => Some(ident.span().start().line),
            _ => None,
        })
    }

    /// Without the items under `#[cfg(test)]`, at the level of the file and of its modules.
    pub(crate) fn without_tests(self) -> Self {
        let mut kept = Vec::new();
        let mut tokens = self.0.into_iter().peekable();
        while let Some(token) = tokens.next() {
            let opens_test = is_punct(&token, '#') && tokens.peek().is_some_and(is_cfg_test);
            if !opens_test {
                kept.push(token);
                continue;
            }
            for skipped in tokens.by_ref().skip(1) {
                if is_punct(&skipped, ';') || is_group(&skipped, Delimiter::Brace) {
                    break;
                }
            }
        }
        Self(kept)
    }

    /// Every path in these tokens, which stand in the given module.
    pub(crate) fn paths(&self, module: &[String]) -> Vec<Named> {
        let mut found = Vec::new();
        self.collect(&mut module.to_vec(), &mut found);
        found
    }

    fn collect(&self, module: &mut Vec<String>, found: &mut Vec<Named>) {
        let mut at = 0;
        while at < self.0.len() {
            match &self.0[at] {
                TokenTree::Ident(ident) if ident == "mod" && self.inline_module(at).is_some() => {
                    let (name, body) = self.inline_module(at).expect("just seen");
                    module.push(name);
                    body.collect(module, found);
                    module.pop();
                    at += 3;
                }
                TokenTree::Ident(_) => at = self.tree(at, Vec::new(), module, found),
                TokenTree::Group(group) => {
                    Self::of(group.stream()).collect(module, found);
                    at += 1;
                }
                _ => at += 1,
            }
        }
    }

    /// `mod NAME { … }`, as name and body.
    fn inline_module(&self, at: usize) -> Option<(String, Self)> {
        match self.0.get(at + 1..at + 3)? {
            [TokenTree::Ident(name), TokenTree::Group(body)] if body.delimiter() == Delimiter::Brace => {
                Some((name.to_string(), Self::of(body.stream())))
            }
            _ => None,
        }
    }

    /// Follows one path, or a `use` tree that opens here; gives the place after it.
    fn tree(&self, mut at: usize, mut path: Vec<String>, module: &[String], found: &mut Vec<Named>) -> usize {
        let line = self.0[at].span().start().line;
        while let Some(TokenTree::Ident(ident)) = self.0.get(at) {
            path.push(ident.to_string());
            at += 1;
            if !self.is_path_separator(at) {
                break;
            }
            at += 2;
        }
        if let Some(TokenTree::Group(group)) = self.0.get(at)
            && group.delimiter() == Delimiter::Brace
            && at >= 2
            && self.is_path_separator(at - 2)
        {
            let branches = Self::of(group.stream());
            let mut branch = 0;
            while branch < branches.0.len() {
                branch = match branches.0[branch] {
                    TokenTree::Ident(_) => branches.tree(branch, path.clone(), module, found),
                    _ => branch + 1,
                };
            }
            return at + 1;
        }
        found.push(Named { path: resolve(path, module), line });
        at
    }

    fn is_path_separator(&self, at: usize) -> bool {
        let colon = |at: usize| self.0.get(at).is_some_and(|token| is_punct(token, ':'));
        colon(at) && colon(at + 1)
    }
}

/// `super` and `self` at the front become the path from the crate's root.
fn resolve(path: Vec<String>, module: &[String]) -> FullPath {
    let supers = path.iter().take_while(|s| *s == "super").count();
    let own = path[0] == "self";
    if supers == 0 && !own {
        return FullPath(path);
    }
    let base = &module[..module.len().saturating_sub(supers)];
    let rest = path.into_iter().skip(supers + usize::from(own));
    FullPath(["crate".to_owned()].into_iter().chain(base.iter().cloned()).chain(rest).collect())
}

fn is_punct(token: &TokenTree, char: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == char)
}

fn is_group(token: &TokenTree, delimiter: Delimiter) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == delimiter)
}

fn is_cfg_test(token: &TokenTree) -> bool {
    is_group(token, Delimiter::Bracket) && token.to_string().replace(' ', "") == "[cfg(test)]"
}
