//! Reads a template's text into nodes: text, values, `if` and `for`. What is not in the grammar cannot run.
//! `scan` finds the marks, `expression` reads what is between them.

use super::error::{Fault, Span};
use super::format::Syntax;
use super::lexer::Lexer;
use super::scan::{Mark, Opening, REFUSED_TAGS, Scanner};
use super::syntax::{Expr, ExprKind, For, Node};
use super::tokens::{Tokens, Variable};

/// Tags within tags.
const MOST_BLOCKS: usize = 32;

type Result<T> = std::result::Result<T, Box<Fault>>;

pub(super) fn parse(text: &str, syntax: Syntax) -> Result<Vec<Node>> {
    let scanner = Scanner::new(text, syntax);
    let mut parser =
        Parser { text, syntax, scanner, position: 0, trims: false, scope: Vec::new(), blocks: 0 };
    let (nodes, ended) = parser.nodes()?;
    match ended {
        None => Ok(nodes),
        Some(tag) => Err(Fault::syntax(tag.span, format!("`{}` ends nothing here", tag.name))),
    }
}

struct Parser<'t> {
    text: &'t str,
    syntax: Syntax,
    scanner: Scanner<'t>,
    position: usize,
    /// Whether the mark before `position` wants the blanks after it removed.
    trims: bool,
    scope: Vec<Variable>,
    blocks: usize,
}

/// `elif`, `else`, `endif`, `endfor`: a tag that belongs to one that is open. An `elif` has its condition.
struct Ending {
    name: String,
    span: Span,
    condition: Option<Expr>,
}

impl<'t> Parser<'t> {
    /// Up to the end of the text or to a tag that ends the block.
    fn nodes(&mut self) -> Result<(Vec<Node>, Option<Ending>)> {
        let mut nodes = Vec::new();
        loop {
            let opening = self.scanner.next(self.position, &self.scope)?;
            let end = opening.as_ref().map_or(self.text.len(), |opening| opening.span.start as usize);
            nodes.extend(self.text_until(end, opening.as_ref().is_some_and(|opening| opening.trim)));
            let Some(opening) = opening else { return Ok((nodes, None)) };
            match opening.mark {
                Mark::Comment => self.comment(&opening)?,
                Mark::Value => nodes.push(self.value(&opening)?),
                Mark::Tag => match self.tag(&opening)? {
                    Tag::Node(node) => nodes.push(node),
                    Tag::Ending(ending) => return Ok((nodes, Some(ending))),
                },
            }
        }
    }

    fn text_until(&mut self, end: usize, trims_end: bool) -> Option<Node> {
        let mut start = self.position;
        let mut end = end;
        if std::mem::take(&mut self.trims) {
            start = end - self.text[start..end].trim_start().len();
        }
        if trims_end {
            end = start + self.text[start..end].trim_end().len();
        }
        (start < end).then(|| Node::Text(Span::new(start, end)))
    }

    fn comment(&mut self, opening: &Opening) -> Result<()> {
        let close = Mark::Comment.close(self.syntax);
        let start = opening.span.end as usize;
        let Some(length) = self.text[start..].find(close) else {
            return Err(Fault::syntax(opening.span, format!("this comment is never closed by `{close}`")));
        };
        self.trims = self.text[start..start + length].ends_with('-');
        self.position = start + length + close.len();
        Ok(())
    }

    /// Reads one mark's tokens to its end and goes on behind it.
    fn read<T>(
        &mut self,
        opening: &Opening,
        read: impl FnOnce(&mut Tokens<'t, '_>) -> Result<T>,
    ) -> Result<T> {
        let lexer = Lexer::new(self.text, opening.span, opening.mark.close(self.syntax));
        let mut tokens = Tokens::new(lexer, &self.scope)?;
        let result = read(&mut tokens)?;
        (self.trims, self.position) = tokens.close()?;
        Ok(result)
    }

    fn value(&mut self, opening: &Opening) -> Result<Node> {
        self.read(opening, |tokens| tokens.emit().map(Node::Emit))
    }

    fn tag(&mut self, opening: &Opening) -> Result<Tag> {
        let head = self.read_head(opening)?;
        match head {
            Head::If(condition) => self.block(opening, |parser| parser.conditional(opening, condition)),
            Head::For(targets, over) => {
                self.block(opening, |parser| parser.repetition(opening, targets, over))
            }
            Head::Raw => self.raw(opening).map(Tag::Node),
            Head::Ending(ending) => Ok(Tag::Ending(ending)),
        }
    }

    fn block(&mut self, opening: &Opening, read: impl FnOnce(&mut Self) -> Result<Node>) -> Result<Tag> {
        self.blocks += 1;
        if self.blocks > MOST_BLOCKS {
            return Err(Fault::refused(
                opening.span,
                format!("tags nested deeper than {MOST_BLOCKS} levels"),
            ));
        }
        let node = read(self)?;
        self.blocks -= 1;
        Ok(Tag::Node(node))
    }

    fn read_head(&mut self, opening: &Opening) -> Result<Head> {
        self.read(opening, |tokens| {
            let (name, span) = tokens.expect_word("a tag's name")?;
            match name.as_str() {
                "if" => tokens.expression().map(Head::If),
                "for" => for_head(tokens),
                "raw" => Ok(Head::Raw),
                "elif" => {
                    let condition = Some(tokens.expression()?);
                    Ok(Head::Ending(Ending { name, span, condition }))
                }
                "else" | "endif" | "endfor" | "endraw" => {
                    Ok(Head::Ending(Ending { name, span, condition: None }))
                }
                _ => Err(refused_tag(&name, span)),
            }
        })
    }

    fn conditional(&mut self, opening: &Opening, condition: Expr) -> Result<Node> {
        let mut arms = Vec::new();
        let mut condition = condition;
        loop {
            let (body, ending) = self.nodes()?;
            arms.push((condition, body));
            let ending = expect_ending(ending, opening, "if", "endif")?;
            match (ending.name.as_str(), ending.condition) {
                ("endif", _) => return Ok(Node::If { arms, otherwise: Vec::new() }),
                ("elif", Some(next)) => condition = next,
                ("else", _) => {
                    let otherwise = self.last_body(opening, "if", "endif")?;
                    return Ok(Node::If { arms, otherwise });
                }
                _ => return Err(misplaced(&ending.name, ending.span, "endif")),
            }
        }
    }

    fn repetition(&mut self, opening: &Opening, targets: Vec<String>, over: Expr) -> Result<Node> {
        let count = targets.len();
        let outer = self.scope.len();
        for (place, name) in targets.into_iter().enumerate() {
            self.scope.push(Variable { name, literals: literals(&over, place, count) });
        }
        let (body, ending) = self.nodes()?;
        self.scope.truncate(outer);
        let ending = expect_ending(ending, opening, "for", "endfor")?;
        let otherwise = match ending.name.as_str() {
            "endfor" => Vec::new(),
            "else" => self.last_body(opening, "for", "endfor")?,
            _ => return Err(misplaced(&ending.name, ending.span, "endfor")),
        };
        Ok(Node::For(Box::new(For { targets: count, over, body, otherwise })))
    }

    /// What follows `else`: only the end of the block may come after it.
    fn last_body(&mut self, opening: &Opening, name: &str, end: &str) -> Result<Vec<Node>> {
        let (body, ending) = self.nodes()?;
        let ending = expect_ending(ending, opening, name, end)?;
        if ending.name != end {
            return Err(misplaced(&ending.name, ending.span, end));
        }
        Ok(body)
    }

    /// Everything up to `endraw` is text.
    fn raw(&mut self, opening: &Opening) -> Result<Node> {
        let start = self.position;
        let trims = std::mem::take(&mut self.trims);
        let open = if self.syntax == Syntax::Angle { "<%" } else { "{%" };
        let mut from = start;
        while let Some(found) = self.text[from..].find(open) {
            let at = from + found;
            from = at + open.len();
            let inner = &self.text[from..];
            let trims_end = inner.starts_with('-');
            if !inner.trim_start_matches('-').trim_start().starts_with("endraw") {
                continue;
            }
            let ending = Opening {
                mark: Mark::Tag,
                trim: trims_end,
                span: Span::new(at, from + usize::from(trims_end)),
            };
            self.read(&ending, |tokens| tokens.expect_word("`endraw`"))?;
            let text = &self.text[start..at];
            let start = if trims { at - text.trim_start().len() } else { start };
            let end = if trims_end { start + self.text[start..at].trim_end().len() } else { at };
            return Ok(Node::Text(Span::new(start, end)));
        }
        Err(never_ended(opening, "raw", "endraw"))
    }
}

enum Tag {
    Node(Node),
    Ending(Ending),
}

enum Head {
    If(Expr),
    For(Vec<String>, Expr),
    Raw,
    Ending(Ending),
}

fn for_head(tokens: &mut Tokens<'_, '_>) -> Result<Head> {
    let mut targets = vec![target(tokens)?];
    while tokens.takes(",")? {
        targets.push(target(tokens)?);
    }
    if !tokens.takes_word("in")? {
        return Err(tokens.unexpected("`in`"));
    }
    let over = tokens.expression()?;
    Ok(Head::For(targets, over))
}

fn target(tokens: &mut Tokens<'_, '_>) -> Result<String> {
    let (name, span) = tokens.expect_word("a loop variable's name")?;
    let taken = ["secrets", "secret", "env", "reader", "loop", "true", "false", "none", "not", "if", "in"];
    if taken.contains(&name.as_str()) {
        return Err(Fault::refused(
            span,
            format!("`{name}` cannot be a loop variable: it means something already"),
        ));
    }
    Ok(name)
}

/// All texts that the loop variable at `place` can be, if the loop goes over literals.
fn literals(over: &Expr, place: usize, count: usize) -> Option<Vec<String>> {
    let ExprKind::List(items) = &over.kind else { return None };
    let pick = |item: &Expr| match &item.kind {
        ExprKind::Text(text) if count == 1 => Some(text.clone()),
        ExprKind::List(row) if count > 1 => match &row.get(place)?.kind {
            ExprKind::Text(text) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    };
    items.iter().map(pick).collect()
}

fn refused_tag(name: &str, span: Span) -> Box<Fault> {
    let fault = Fault::refused(span, format!("the tag `{name}` is refused"));
    match name {
        "include" | "import" | "from" | "extends" | "block" | "endblock" => {
            fault.hint("write it all in one file, which can be judged as a whole")
        }
        _ if REFUSED_TAGS.contains(&name) => fault
            .hint("do without: templates have `if`, `for` and `raw`, and encode each value where it stands"),
        _ => Fault::syntax(span, format!("there is no tag `{name}`")),
    }
}

fn expect_ending(ending: Option<Ending>, opening: &Opening, name: &str, end: &str) -> Result<Ending> {
    ending.ok_or_else(|| never_ended(opening, name, end))
}

fn never_ended(opening: &Opening, name: &str, end: &str) -> Box<Fault> {
    Fault::syntax(opening.span, format!("this `{name}` is never ended by `{end}`"))
}

fn misplaced(name: &str, span: Span, end: &str) -> Box<Fault> {
    Fault::syntax(span, format!("`{end}` should stand here, not `{name}`"))
}
