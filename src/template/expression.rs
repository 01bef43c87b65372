//! Judges expressions. An operator becomes a filter of ours, which takes its place and bounds what it makes.

use minijinja::Value;
use minijinja::machinery::ast::{BinOpKind, CallArg, Expr, Filter, Test, UnaryOpKind};

use super::error::{Fault, Span};
use super::filters;
use super::judge::Judge;
use super::names::{NAMES, choose};
use super::slot::What;
use crate::nearest::nearest;

const MOST_ITEMS: usize = 1024;

const LOOP_FIELDS: [(&str, ()); 5] =
    [("index", ()), ("index0", ()), ("first", ()), ("last", ()), ("length", ())];

/// The tests, and the filters of ours that make them.
const TESTS: [(&str, &str); 4] =
    [("defined", "defined"), ("undefined", "undefined"), ("none", "is_none"), ("null", "is_none")];

/// What an operand of each strength may be written without parentheses.
const TERNARY: u8 = 0;
const OR: u8 = 1;
const AND: u8 = 2;
const NOT: u8 = 3;
const FILTERED: u8 = 4;

type Result<T> = std::result::Result<T, Box<Fault>>;

impl Judge<'_> {
    /// An expression that a filter follows.
    pub(super) fn value(&mut self, expr: &Expr<'_>) -> Result<()> {
        self.expr(expr, FILTERED)
    }

    pub(super) fn condition(&mut self, expr: &Expr<'_>) -> Result<()> {
        self.sure(expr, OR)
    }

    /// An expression whose value has to be there at once: a condition, or an operand of `and`, `or`, `not`.
    fn sure(&mut self, expr: &Expr<'_>, strength: u8) -> Result<()> {
        if matches!(strength_of(expr), OR | AND | NOT) {
            return self.expr(expr, strength);
        }
        self.value(expr)?;
        self.write("|sure");
        Ok(())
    }

    fn expr(&mut self, expr: &Expr<'_>, strength: u8) -> Result<()> {
        let is_weaker = strength_of(expr) < strength;
        self.write(if is_weaker { "(" } else { "" });
        self.bare(expr)?;
        self.write(if is_weaker { ")" } else { "" });
        Ok(())
    }

    fn bare(&mut self, expr: &Expr<'_>) -> Result<()> {
        if let Some(what) = self.named(expr) {
            self.slot(what?, self.span(expr));
            return Ok(());
        }
        if let Some(value) = literal(expr) {
            self.slot(What::Literal(value), self.span(expr));
            return Ok(());
        }
        match expr {
            Expr::Var(var) => self.word(var.id, self.span(expr)),
            Expr::UnaryOp(not) if matches!(not.op, UnaryOpKind::Not) => {
                self.write("not ");
                self.sure(&not.expr, NOT)
            }
            Expr::UnaryOp(minus) => Err(self.no_arithmetic("-", self.span(expr).start, &minus.expr)),
            Expr::BinOp(pair) => self.operator(pair.op, &pair.left, &pair.right, self.span(expr)),
            Expr::IfExpr(choice) => {
                let Some(otherwise) = &choice.false_expr else {
                    return Err(Fault::syntax(self.span(&choice.test_expr), "an `else` is missing")
                        .hint("say what is written otherwise: `a if b else c`"));
                };
                self.lazily(|judge| judge.expr(&choice.true_expr, OR))?;
                self.write(" if ");
                self.sure(&choice.test_expr, OR)?;
                self.write(" else ");
                self.lazily(|judge| judge.expr(otherwise, TERNARY))
            }
            Expr::Filter(filter) => self.filter(filter, expr),
            Expr::Test(test) => self.test(test, self.span(expr)),
            Expr::GetAttr(part) => self.part(&part.expr, Value::from(part.name), expr),
            Expr::GetItem(part) => {
                let name = literal(&part.subscript_expr)
                    .filter(|name| name.as_str().is_some() || name.as_usize().is_some());
                let at = self.span(&part.subscript_expr);
                let name =
                    name.ok_or_else(|| Fault::syntax(at, "a part's name or number should stand here"))?;
                self.part(&part.expr, name, expr)
            }
            Expr::List(list) => self.list(&list.items, self.span(expr)),
            Expr::Tuple(tuple) => self.list(&tuple.items, self.span(expr)),
            Expr::Call(call) => Err(self.no_function(&call.expr)),
            Expr::Map(_) => Err(Fault::refused(self.span(expr), "map literals are refused")),
            Expr::Compare(_) => Err(Fault::refused(self.span(expr), "more than one comparison in a row")
                .hint("join them: `a < b and b < c`")),
            Expr::Slice(_) => Err(Fault::refused(self.span(expr), "slices are refused")),
            Expr::Const(_) => Err(Fault::refused(self.span(expr), "this literal is refused")),
        }
    }

    fn test(&mut self, test: &Test<'_>, span: Span) -> Result<()> {
        let Some((_, filter)) = TESTS.iter().find(|(name, _)| *name == test.name) else {
            let fault = Fault::refused(span, format!("there is no test `{}`", test.name));
            return Err(fault.did_you_mean(nearest(test.name, TESTS.map(|(name, _)| name))));
        };
        if !test.args.is_empty() {
            return Err(Fault::syntax(span, format!("the test `{}` takes no arguments", test.name)));
        }
        let place = self.place(span);
        self.optionally(*filter != "is_none", |judge| judge.value(&test.expr))?;
        self.write(&format!("|{filter}({place})"));
        Ok(())
    }

    fn word(&mut self, word: &str, at: Span) -> Result<()> {
        if self.variable(word).is_some() {
            self.write(&format!("v_{word}"));
            return Ok(());
        }
        if word == "loop" && !self.scope.is_empty() {
            return Err(Fault::refused(at, "`loop` as a whole cannot be used").hint("name one: `loop.index`"));
        }
        let fault = Fault::syntax(at, format!("`{word}` is not a name that templates know"));
        let scope = self.scope.iter().map(|variable| variable.name.as_str());
        Err(match nearest(word, NAMES.into_iter().chain(scope)) {
            Some(name) => fault.did_you_mean(Some(name)),
            None => fault.hint(format!("write `secrets.{word}` for a secret, or quotes around a text")),
        })
    }

    fn no_function(&self, function: &Expr<'_>) -> Box<Fault> {
        let Expr::Var(var) = function else {
            return Fault::refused(self.span(function), "this is not a function");
        };
        let fault = Fault::refused(self.span(function), format!("there is no function `{}`", var.id));
        fault.did_you_mean(nearest(var.id, ["secret"]))
    }

    fn operator(&mut self, op: BinOpKind, left: &Expr<'_>, right: &Expr<'_>, span: Span) -> Result<()> {
        let filter = match op {
            BinOpKind::ScAnd => return self.either(left, " and ", right, AND),
            BinOpKind::ScOr => return self.either(left, " or ", right, OR),
            BinOpKind::Concat | BinOpKind::Add => "concat",
            BinOpKind::Eq => "eq",
            BinOpKind::Ne => "ne",
            BinOpKind::Lt => "lt",
            BinOpKind::Lte => "le",
            BinOpKind::Gt => "gt",
            BinOpKind::Gte => "ge",
            BinOpKind::In => "in_",
            BinOpKind::Sub => return Err(self.no_arithmetic("-", self.span(left).end, left)),
            BinOpKind::Mul => return Err(self.no_arithmetic("*", self.span(left).end, left)),
            BinOpKind::Pow => return Err(self.no_arithmetic("**", self.span(left).end, left)),
            BinOpKind::Div => return Err(self.no_arithmetic("/", self.span(left).end, left)),
            BinOpKind::FloorDiv => return Err(self.no_arithmetic("//", self.span(left).end, left)),
            BinOpKind::Rem => return Err(self.no_arithmetic("%", self.span(left).end, left)),
        };
        let place = self.place(span);
        self.value(left)?;
        self.write(&format!("|{filter}({place},"));
        self.expr(right, TERNARY)?;
        self.write(")");
        Ok(())
    }

    fn either(&mut self, left: &Expr<'_>, word: &str, right: &Expr<'_>, strength: u8) -> Result<()> {
        self.sure(left, strength)?;
        self.write(word);
        self.lazily(|judge| judge.sure(right, strength + 1))
    }

    fn no_arithmetic(&self, sign: &str, after: u32, operand: &Expr<'_>) -> Box<Fault> {
        let after = after as usize;
        let at = after + self.source.template[after..].find(sign).unwrap_or(0);
        let span = Span::new(at, at + sign.len());
        let fault = Fault::refused(span, format!("templates do not calculate: `{sign}` is refused"));
        match self.named(operand) {
            Some(Ok(What::Secret(..))) if matches!(sign, "-" | "/") => {
                fault.hint("write a name with `-`, `.` or `/` in brackets: `secrets[\"a-b\"]`")
            }
            _ => fault,
        }
    }

    fn filter(&mut self, filter: &Filter<'_>, whole: &Expr<'_>) -> Result<()> {
        let Some(base) = &filter.expr else {
            return Err(Fault::refused(self.span(whole), "a filter of nothing"));
        };
        if matches!(filter.name, "raw" | "quote") {
            return Err(self.not_last(filter, whole));
        }
        let has_stand_in = matches!(filter.name, "default" | "fallback");
        self.optionally(has_stand_in, |judge| {
            judge.value(base)?;
            let at = judge.filter_name(filter, base);
            check_filter(filter, at)?;
            let place = judge.place(judge.span(whole));
            judge.write(&format!("|{}({place}", filter.name));
            judge.lazily(|judge| judge.arguments(filter, at))
        })?;
        self.write(")");
        Ok(())
    }

    fn arguments(&mut self, filter: &Filter<'_>, at: Span) -> Result<()> {
        filter.args.iter().try_for_each(|argument| match argument {
            // Only words that the template's author wrote: anything computed might hold a value.
            CallArg::Pos(why) if filter.name == "required" && literal(why).is_none() => {
                Err(Fault::refused(self.span(why), "`required` says why in a literal text"))
            }
            CallArg::Pos(argument) => {
                self.write(",");
                self.expr(argument, TERNARY)
            }
            _ => Err(Fault::refused(at, format!("`{}` has no named arguments", filter.name))),
        })
    }

    pub(super) fn not_last(&self, filter: &Filter<'_>, whole: &Expr<'_>) -> Box<Fault> {
        let at = filter.expr.as_ref().map_or(self.span(whole), |base| self.filter_name(filter, base));
        Fault::refused(at, "`raw` and `quote` say how a whole value is written")
            .hint("put them last, and what comes before in parentheses: `<< (a ~ b) | quote >>`")
    }

    /// Where the filter's name stands.
    fn filter_name(&self, filter: &Filter<'_>, base: &Expr<'_>) -> Span {
        let from = self.span(base).end as usize;
        let at = from + self.source.template[from..].find(filter.name).unwrap_or(0);
        Span::new(at, at + filter.name.len())
    }

    fn part(&mut self, base: &Expr<'_>, name: Value, whole: &Expr<'_>) -> Result<()> {
        let span = self.span(whole);
        match base {
            Expr::Var(var) if var.id == "loop" && !self.scope.is_empty() => {
                let field = name.as_str().unwrap_or_default();
                choose(field, span, "loop", &LOOP_FIELDS)?;
                self.write(&format!("loop.{field}"));
                return Ok(());
            }
            Expr::Filter(_) | Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_) | Expr::IfExpr(_) => {}
            _ => return Err(Fault::refused(span, "this has no parts")),
        }
        let place = self.place(span);
        self.value(base)?;
        self.write(&format!("|part({place},"));
        self.slot(What::Literal(name), span);
        self.write(")");
        Ok(())
    }

    fn list(&mut self, items: &[Expr<'_>], span: Span) -> Result<()> {
        if items.len() > MOST_ITEMS {
            return Err(Fault::refused(span, format!("more than {MOST_ITEMS} items")));
        }
        let place = self.place(span);
        self.write("[");
        for item in items {
            self.expr(item, TERNARY)?;
            self.write(",");
        }
        self.write(&format!("]|list({place})"));
        Ok(())
    }
}

fn strength_of(expr: &Expr<'_>) -> u8 {
    match expr {
        Expr::IfExpr(_) => TERNARY,
        Expr::BinOp(pair) if matches!(pair.op, BinOpKind::ScOr) => OR,
        Expr::BinOp(pair) if matches!(pair.op, BinOpKind::ScAnd) => AND,
        Expr::UnaryOp(not) if matches!(not.op, UnaryOpKind::Not) => NOT,
        _ => FILTERED,
    }
}

fn literal(expr: &Expr<'_>) -> Option<Value> {
    match expr {
        Expr::Const(literal) => Some(literal.value.clone()),
        Expr::Var(var) if var.id == "null" => Some(Value::from(())),
        Expr::UnaryOp(minus) if matches!(minus.op, UnaryOpKind::Neg) => expr.as_const(),
        _ => None,
    }
}

fn check_filter(filter: &Filter<'_>, at: Span) -> Result<()> {
    let Some(known) = filters::ALL.iter().find(|known| known.name == filter.name) else {
        let fault = Fault::refused(at, format!("there is no filter `{}`", filter.name));
        return Err(fault.did_you_mean(nearest(filter.name, filters::names())));
    };
    let (fewest, most, count) = (known.fewest, known.most, filter.args.len());
    if count < fewest || count > most {
        let wanted = if fewest == most { format!("{most}") } else { format!("{fewest} to {most}") };
        let message = format!("`{}` takes {wanted} argument(s), here are {count}", filter.name);
        return Err(Fault::syntax(at, message));
    }
    Ok(())
}
