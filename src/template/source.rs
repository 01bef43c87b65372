//! Makes a template's text ready for the engine: a mark that is not ours is masked, a filter's bare argument
//! gets its parentheses, and every block has its end. Uses `scan` for what is ours and `tag` for what is in it.

use minijinja::machinery::{ast, parse};
use minijinja::syntax::SyntaxConfig;

use super::error::{Fault, Span};
use super::format::Syntax;
use super::names::NAMES;
use super::scan::{Around, Mark, Opening, REFUSED_TAGS, Scanner, unknown_tag};
use super::tag::Tag;

/// Tags within tags, and `elif`s, which the engine reads as such.
const MOST_BLOCKS: usize = 48;

type Result<T> = std::result::Result<T, Box<Fault>>;

/// The template's text as the engine reads it.
pub(super) struct Source<'t> {
    /// As it was written.
    pub(super) template: &'t str,
    text: String,
    /// Where `text` has a parenthesis that the template does not have, in ascending order.
    inserted: Vec<usize>,
    config: SyntaxConfig,
    tags: Vec<Tag<'t>>,
    unknown: Option<Box<Fault>>,
    pub(super) doubtful: Vec<(String, Span)>,
}

impl<'t> Source<'t> {
    pub(super) fn new(template: &'t str, syntax: Syntax) -> Result<Self> {
        let mut reader = Reader::new(template, syntax);
        match reader.tags() {
            Ok(()) => Ok(reader.rewrite()),
            Err(fault) => Err(earlier(reader.scanner.unknown, fault)),
        }
    }

    /// Refuses names that are not known, unless a fault before them is told.
    pub(super) fn verdict<T>(self, judged: Result<T>) -> Result<T> {
        match judged {
            Ok(judged) => self.unknown.map_or(Ok(judged), Err),
            Err(fault) => Err(earlier(self.unknown, fault)),
        }
    }

    pub(super) fn parse(&self) -> Result<ast::Stmt<'_>> {
        parse(&self.text, "", self.config.clone()).map_err(|_| self.fault())
    }

    /// Where the engine cannot read on.
    fn fault(&self) -> Box<Fault> {
        let found = self.tags.iter().find_map(|tag| tag.fault(&self.config));
        found.unwrap_or_else(|| Fault::syntax(Span::new(0, 0), "this template cannot be read"))
    }

    pub(super) fn span(&self, start: usize, end: usize) -> Span {
        Span::new(self.original(start), self.original(end))
    }

    /// Where a text of the tree stands.
    pub(super) fn span_of(&self, part: &str) -> Span {
        let start = part.as_ptr() as usize - self.text.as_ptr() as usize;
        self.span(start, start + part.len())
    }

    fn original(&self, offset: usize) -> usize {
        offset - self.inserted.partition_point(|&at| at < offset)
    }
}

fn earlier(unknown: Option<Box<Fault>>, fault: Box<Fault>) -> Box<Fault> {
    unknown.filter(|unknown| unknown.span.start < fault.span.start).unwrap_or(fault)
}

fn config(syntax: Syntax) -> SyntaxConfig {
    let (value, tag, comment) =
        (Mark::Value.delimiters(syntax), Mark::Tag.delimiters(syntax), Mark::Comment.delimiters(syntax));
    SyntaxConfig::builder()
        .variable_delimiters(value.0, value.1)
        .block_delimiters(tag.0, tag.1)
        .comment_delimiters(comment.0, comment.1)
        .keep_trailing_newline(true)
        .build()
        .expect("the delimiters differ")
}

struct Reader<'t> {
    text: &'t str,
    syntax: Syntax,
    config: SyntaxConfig,
    scanner: Scanner<'t>,
    blocks: Vec<Block>,
    tags: Vec<Tag<'t>>,
}

/// An `if` or `for` that is open, or an `elif` in it.
struct Block {
    opening: Span,
    name: &'static str,
    end: &'static str,
    variables: Vec<String>,
    had_else: bool,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str, syntax: Syntax) -> Self {
        let scanner = Scanner::new(text, syntax);
        Self { text, syntax, config: config(syntax), scanner, blocks: Vec::new(), tags: Vec::new() }
    }

    fn tags(&mut self) -> Result<()> {
        let mut position = 0;
        let mut around = Around::default();
        while let Some(opening) = self.scanner.next(position, &around) {
            position = match opening.mark {
                Mark::Comment => self.end_of_comment(&opening)?,
                _ => self.tag(&opening)?,
            };
            if opening.mark == Mark::Tag {
                around = self.around();
            }
        }
        match self.blocks.pop() {
            None => Ok(()),
            // An end that was misspelt is told rather than missed.
            Some(block) => Err(self
                .scanner
                .unknown
                .take()
                .unwrap_or_else(|| never_ended(block.opening, block.name, block.end))),
        }
    }

    fn around(&self) -> Around {
        let scope = self.blocks.iter().flat_map(|block| block.variables.iter().cloned()).collect();
        Around { scope, end: self.blocks.last().map(|block| block.end) }
    }

    fn end_of_comment(&self, opening: &Opening) -> Result<usize> {
        let close = Mark::Comment.delimiters(self.syntax).1;
        let start = opening.span.start as usize + 2;
        let length = self.text[start..].find(close).ok_or_else(|| {
            Fault::syntax(opening.span, format!("this comment is never closed by `{close}`"))
        })?;
        Ok(start + length + close.len())
    }

    fn tag(&mut self, opening: &Opening) -> Result<usize> {
        if let Some(end) = self.end_of_raw(opening)? {
            return Ok(end);
        }
        let tag = Tag::read(self.text, opening, &self.config)?;
        if opening.mark == Mark::Tag {
            self.follow(&tag)?;
        }
        let end = tag.end;
        self.tags.push(tag);
        Ok(end)
    }

    /// Where the text goes on behind `endraw`, if the tag is `raw`.
    fn end_of_raw(&self, opening: &Opening) -> Result<Option<usize>> {
        let (open, close) = Mark::Tag.delimiters(self.syntax);
        let begin = opening.span.end as usize;
        let Some(start) = self.basic_tag(begin, "raw", close).filter(|_| opening.mark == Mark::Tag) else {
            return Ok(None);
        };
        let mut from = start;
        while let Some(found) = self.text[from..].find(open) {
            from += found + open.len();
            let trims = self.text[from..].starts_with(['-', '+']);
            if let Some(end) = self.basic_tag(from + usize::from(trims), "endraw", close) {
                return Ok(Some(end));
            }
        }
        Err(never_ended(opening.span, "raw", "endraw"))
    }

    /// Where a tag that is just `name` ends.
    fn basic_tag(&self, from: usize, name: &str, close: &str) -> Option<usize> {
        let blank = |c: char| c.is_ascii_whitespace();
        let rest = self.text[from..].trim_start_matches(blank).strip_prefix(name)?;
        let rest = rest.trim_start_matches(blank);
        let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest).strip_prefix(close)?;
        Some(self.text.len() - rest.len())
    }

    /// Keeps the account of what is open.
    fn follow(&mut self, tag: &Tag<'_>) -> Result<()> {
        let Some(head) = tag.head() else { return Err(Fault::syntax(tag.opening(), "a tag without a name")) };
        match head.of(self.text) {
            "if" => self.begin(tag, "if", "endif"),
            "for" => self.begin(tag, "for", "endfor"),
            "elif" => {
                let last = self.innermost(head)?;
                if last.name != "if" || last.had_else {
                    return Err(misplaced(head, "elif", last.end));
                }
                self.begin(tag, "elif", "endif")
            }
            "else" => {
                let last = self.innermost(head)?;
                if last.had_else {
                    return Err(misplaced(head, "else", last.end));
                }
                last.had_else = true;
                last.variables.clear();
                Ok(())
            }
            name @ ("endif" | "endfor") => {
                let last = self.innermost(head)?;
                if last.end != name {
                    return Err(misplaced(head, name, last.end));
                }
                while self.blocks.pop().is_some_and(|block| block.name == "elif") {}
                Ok(())
            }
            "endraw" => Err(ends_nothing(head, "endraw")),
            name => Err(refused(name, head, self.blocks.last().map(|block| block.end))),
        }
    }

    fn begin(&mut self, tag: &Tag<'_>, name: &'static str, end: &'static str) -> Result<()> {
        if self.blocks.len() == MOST_BLOCKS {
            let message = format!("tags nested deeper than {MOST_BLOCKS} levels, with each `elif` as one");
            return Err(Fault::refused(tag.opening(), message));
        }
        let mut variables = Vec::new();
        for target in tag.targets().filter(|_| name == "for") {
            variables.push(variable(target.of(self.text), target)?);
        }
        let opening = tag.opening();
        self.blocks.push(Block { opening, name, end, variables, had_else: false });
        Ok(())
    }

    fn innermost(&mut self, head: Span) -> Result<&mut Block> {
        let name = head.of(self.text);
        self.blocks.last_mut().ok_or_else(|| ends_nothing(head, name))
    }

    fn rewrite(self) -> Source<'t> {
        let masked = self.scanner.foreign.iter().map(|&at| (at, '.'));
        let arguments = self.tags.iter().flat_map(Tag::bare_arguments);
        let parentheses = arguments.flat_map(|at| [(at.start as usize, '('), (at.end as usize, ')')]);
        let mut edits: Vec<_> = masked.chain(parentheses).collect();
        edits.sort_by_key(|(at, _)| *at);
        let (mut text, mut inserted) = (String::with_capacity(self.text.len()), Vec::new());
        let mut copied = 0;
        for (at, with) in edits {
            text.push_str(&self.text[copied..at]);
            copied = at;
            if with == '.' {
                copied += 1;
            } else {
                inserted.push(text.len());
            }
            text.push(with);
        }
        text.push_str(&self.text[copied..]);
        Source {
            template: self.text,
            text,
            inserted,
            config: self.config,
            tags: self.tags,
            unknown: self.scanner.unknown,
            doubtful: self.scanner.doubtful,
        }
    }
}

fn variable(name: &str, at: Span) -> Result<String> {
    let taken = ["loop", "self", "true", "false", "none", "True", "False", "None", "null", "not", "if", "in"];
    if taken.contains(&name) || NAMES.contains(&name) {
        let message = format!("`{name}` cannot be a loop variable: it means something already");
        return Err(Fault::refused(at, message));
    }
    Ok(name.to_owned())
}

fn refused(name: &str, span: Span, end: Option<&str>) -> Box<Fault> {
    let fault = Fault::refused(span, format!("the tag `{name}` is refused"));
    match name {
        "include" | "import" | "from" | "extends" | "block" | "endblock" => {
            fault.hint("write it all in one file, which can be judged as a whole")
        }
        _ if REFUSED_TAGS.contains(&name) => fault
            .hint("do without: templates have `if`, `for` and `raw`, and encode each value where it stands"),
        _ => unknown_tag(name, span, end),
    }
}

fn never_ended(opening: Span, name: &str, end: &str) -> Box<Fault> {
    Fault::syntax(opening, format!("this `{name}` is never ended by `{end}`"))
}

fn ends_nothing(head: Span, name: &str) -> Box<Fault> {
    Fault::syntax(head, format!("`{name}` ends nothing here"))
}

fn misplaced(head: Span, name: &str, end: &str) -> Box<Fault> {
    Fault::syntax(head, format!("`{end}` should stand here, not `{name}`"))
}
