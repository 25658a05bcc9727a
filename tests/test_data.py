"""Readers, vocabularies, minibatches and the corpora made from the standard library's source."""

import pickle
import subprocess
import sys
from collections import Counter
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazynet import data
from lazynet.data import DataError, Loader, Sentence, Tree, Vocabulary, builtin

CONLLU = """\
# text = I don't know
1\tI\tI\tPRON\t_\t_\t4\tnsubj\t_\t_
2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
2\tdo\tdo\tAUX\t_\t_\t4\taux\t_\t_
3\tn't\tnot\tPART\t_\t_\t4\tadvmod\t_\t_
3.1\tsurely\t_\tADV\t_\t_\t_\t_\t4:advmod\t_
4\tknow\tknow\tVERB\t_\t_\t0\troot\t_\t_

1\tGo\tgo\tVERB\t_\t_\t0\troot\t_\t_
"""


@pytest.fixture
def written(tmp_path):
    def write(content, name="data.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def row(number, head, columns=10):
    return "\t".join([str(number), "w", "_", "X", "_", "_", str(head), "dep", "_", "_"][:columns])


# Readers


def test_tagged_tokens_are_split_at_their_last_bar(written):
    path = written("a|b|X c|Y\n\n d|Z \r\n")
    assert data.read_tagged(path) == [(["a|b", "c"], ["X", "Y"]), (["d"], ["Z"])]


def test_only_spaces_and_tabs_separate_words(written):
    path = written("8\u00a01/2|NUM\tx\u2028y|X\n")
    assert data.read_tagged(path) == [(["8\u00a01/2", "x\u2028y"], ["NUM", "X"])]


def test_text_and_pairs_are_read_line_by_line(written):
    assert data.read_text(written("a b\n\nc\n")) == [["a", "b"], ["c"]]
    assert data.read_pairs(written("a b\tc\n\nd\te\n")) == [("a b", "c"), ("d", "e")]


def test_conllu_leaves_out_comments_multiword_tokens_and_empty_nodes(written):
    first, second = data.read_conllu(written(CONLLU))
    assert first == Sentence(
        ["I", "do", "n't", "know"],
        ["PRON", "AUX", "PART", "VERB"],
        [4, 4, 4, 0],
        ["nsubj", "aux", "advmod", "root"],
    )
    assert second == Sentence(["Go"], ["VERB"], [0], ["root"])


def test_conllu_reads_the_last_sentence_without_an_empty_line_after_it(written):
    assert len(data.read_conllu(written(CONLLU.rstrip("\n")))) == 2


@pytest.mark.parametrize(
    ("heads", "projective"),
    [([2, 0, 2], True), ([3, 4, 0, 3], False), ([0], True), ([3, 0, 2], False)],
)
def test_a_sentence_knows_whether_its_arcs_cross(heads, projective):
    n = len(heads)
    assert Sentence(["w"] * n, ["X"] * n, heads, ["dep"] * n).is_projective() is projective


def test_trees_are_read_with_labels_words_and_children(written):
    (tree,) = data.read_trees(written("(3 (2 a) (4 (1 b) (0 c\\/d)))\n\n"))
    assert (tree.label, tree.word, tree.is_leaf) == (3, None, False)
    assert [(leaf.label, leaf.word) for leaf in tree.leaves()] == [(2, "a"), (1, "b"), (0, "c\\/d")]
    assert all(leaf.is_leaf for leaf in tree.leaves())


def test_a_tree_gives_its_nodes_children_first_and_left_to_right(written):
    (tree,) = data.read_trees(written("(5 (2 (0 a) (1 b)) (4 (3 c)))"))
    assert [node.label for node in tree] == [0, 1, 2, 3, 4, 5]


@given(
    st.recursive(
        st.builds(Tree, st.integers(-9, 9), st.just(()), st.sampled_from(["a", "-LRB-", "|"])),
        lambda trees: st.builds(Tree, st.integers(-9, 9), st.lists(trees, min_size=1, max_size=4)),
    )
)
def test_a_tree_written_in_brackets_reads_back_the_same(tmp_path_factory, tree):
    path = tmp_path_factory.mktemp("trees") / "tree.txt"
    path.write_text(f"{tree}\n", encoding="utf-8")
    (again,) = data.read_trees(path)
    assert [(n.label, n.word, len(n.children)) for n in again] == [
        (n.label, n.word, len(n.children)) for n in tree
    ]


def test_trees_may_be_far_deeper_than_the_recursion_limit(written):
    depth = 50_000
    text = "(1 " * depth + "(0 x)" + ")" * depth
    (tree,) = data.read_trees(written(text))
    assert sum(node.label for node in tree) == depth
    assert str(tree) == text
    assert len(repr(tree)) < 100


@pytest.mark.parametrize(
    ("read", "content", "line", "expected"),
    [
        (data.read_tagged, "a|X\nb c|X", 2, r"expected word\|tag, found 'b'"),
        (data.read_tagged, "a|", 1, r"expected word\|tag, found 'a\|'"),
        (data.read_tagged, "|X", 1, r"expected word\|tag, found '\|X'"),
        (data.read_pairs, "a\tb\na b", 2, r"expected source<TAB>target, found 1 field"),
        (data.read_pairs, "a\tb\tc", 1, r"expected source<TAB>target, found 3 field"),
        (data.read_text, b"ok\n\xff", 2, r"expected UTF-8 text, found byte 0xff at position 0"),
        (data.read_conllu, row(1, 0, columns=9), 1, r"expected 10 columns .*, found 9"),
        (data.read_conllu, row(1, 0).replace("\t", " "), 1, r"expected 10 columns .*, found 1"),
        (data.read_conllu, f"{row(1, 0)}\n{row(3, 1)}", 2, r"expected word number 2, found '3'"),
        (data.read_conllu, row("x-2", 0), 1, r"expected word number 1, found 'x-2'"),
        (data.read_conllu, row(1, "_"), 1, r"expected a head .*, found '_'"),
        (data.read_conllu, f"# c\n{row(1, 2)}", 2, r"expected heads from 0 to 1, .* has head 2"),
        (data.read_conllu, f"{row(1, 2)}\n{row(2, 1)}", 1, r"found the cycle 1 -> 2 -> 1"),
        (data.read_conllu, f"{row(1, 0)}\n\n{row(1, 1)}", 3, r"found the cycle 1 -> 1"),
        (data.read_trees, "(1 a)\n(1 (2 a)", 2, r"column 9: expected 1 more '\)'"),
        (data.read_trees, "(1 a) (2 b)", 1, r"column 7: expected one tree a line, found '\('"),
        (data.read_trees, "1 a", 1, r"column 1: expected '\(', found '1'"),
        (data.read_trees, ")", 1, r"column 1: expected '\(', found '\)'"),
        (data.read_trees, "(a b)", 1, r"column 1: expected an integer label .*, found 'a'"),
        (data.read_trees, "(", 1, r"column 1: expected an integer label .*, found the end"),
        (data.read_trees, "(1 )", 1, r"column 4: expected a word or children .*, found '\)'"),
        (data.read_trees, "(1 a b)", 1, r"column 6: .* found a second word, 'b'"),
        (data.read_trees, "(1 a (2 b))", 1, r"column 6: expected one word or children"),
        (data.read_trees, "(1 (2 b) a)", 1, r"column 10: expected one word or children"),
    ],
)
def test_a_malformed_file_is_told_by_name_line_and_what_was_expected(
    written, read, content, line, expected
):
    path = written(content)
    with pytest.raises(DataError, match=expected) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}, line {line}: ")
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "read",
    [data.read_conllu, data.read_pairs, data.read_tagged, data.read_text, data.read_trees],
)
def test_a_missing_file_and_a_folder_are_told_in_one_sentence(tmp_path, read):
    with pytest.raises(DataError, match=r"absent\.txt: no such file"):
        read(tmp_path / "absent.txt")
    with pytest.raises(DataError, match="expected a file, found a folder"):
        read(tmp_path)


@pytest.mark.parametrize("line", [None, 3])
def test_an_error_comes_back_from_a_pickle_as_it_was(tmp_path, line):
    error = DataError(tmp_path / "words.txt", line, "expected a number")
    error.add_note("while reading")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is DataError and str(again) == str(error)
    assert again.__notes__ == ["while reading"]


def test_a_byte_order_mark_is_no_part_of_the_first_word(written):
    assert data.read_text(written(b"\xef\xbb\xbfa b\r\nc")) == [["a", "b"], ["c"]]


def test_a_single_file_is_split_with_every_tenth_example_for_dev(written):
    train, dev = data.read_split(written("".join(f"w{i}\n" for i in range(25))), data.read_text)
    assert dev == [["w9"], ["w19"]]
    assert len(train) == 23 and not set(map(tuple, train)) & set(map(tuple, dev))


def test_of_a_few_examples_the_last_is_held_out(written):
    file = written("a\nb\nc\n")
    assert data.read_split(file, data.read_text) == ([["a"], ["b"]], [["c"]])
    with pytest.raises(DataError, match=r"text\.txt: expected two examples or more, .* found 1"):
        data.read_split(written("a\n", "text.txt"), data.read_text)


@pytest.mark.parametrize(
    ("names", "train", "dev"),
    [
        (("x-test.txt", "x-dev.txt", "x-train.txt", "README.md"), "x-train.txt", "x-dev.txt"),
        (("a-test.txt", "a-dev.txt"), "a-dev.txt", "a-test.txt"),
    ],
)
def test_a_folder_gives_the_first_two_of_train_dev_and_test(written, tmp_path, names, train, dev):
    for name in names:
        written(name, name)
    assert data.read_split(tmp_path, data.read_text) == ([[train]], [[dev]])


def test_a_folder_that_does_not_tell_train_from_dev_is_refused(written, tmp_path):
    written("a", "one.txt")
    written("b", "two.txt")
    with pytest.raises(DataError, match=r"expected one file, or .*; found one\.txt, two\.txt"):
        data.read_split(tmp_path, data.read_text)


def test_a_file_without_examples_is_refused(written, tmp_path):
    with pytest.raises(DataError, match="expected at least one example"):
        data.read_split(written("\n\n"), data.read_text)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "train.txt").write_text("a\n")
    (folder / "dev.txt").write_text("\n")
    with pytest.raises(DataError, match=r"dev\.txt: expected at least one example"):
        data.read_split(folder, data.read_text)


# Vocabulary


def test_a_vocabulary_numbers_the_most_frequent_first_whatever_the_order():
    assert Vocabulary("abcbcc").entries == Vocabulary("ccbbca").entries == ["<unk>", "c", "b", "a"]


def test_rare_and_unseen_entries_become_the_unknown_entry():
    vocabulary = Vocabulary(Counter(a=3, b=2, c=1), min_count=2)
    assert len(vocabulary) == 3
    assert "b" in vocabulary and "c" not in vocabulary
    assert vocabulary.decode(vocabulary.encode("abcd")) == ["a", "b", "<unk>", "<unk>"]


def test_a_closed_vocabulary_refuses_what_it_has_not_seen():
    tags = Vocabulary(["X", "Y"], unknown=None)
    assert [tags["X"], tags["Y"]] == [0, 1]
    with pytest.raises(KeyError, match="'Z' is not in this vocabulary"):
        tags["Z"]


def test_a_vocabulary_is_gone_through_by_its_entries_and_ends():
    vocabulary = Vocabulary("abb")
    assert list(vocabulary) == vocabulary.entries == ["<unk>", "b", "a"]


def test_special_entries_come_first_and_must_differ():
    assert Vocabulary("a", special=["<s>", "</s>"]).entries == ["<s>", "</s>", "<unk>", "a"]
    with pytest.raises(ValueError, match="must differ"):
        Vocabulary("a", special=["<s>", "<s>"])


# Loader


def test_every_epoch_gives_every_example_once_in_an_order_of_its_own():
    loader = Loader(range(10), batch_size=4, seed=1)
    first, second = list(loader), list(loader)
    assert [len(batch) for batch in first] == [4, 4, 2] and len(loader) == 3
    assert sorted(chain(*first)) == sorted(chain(*second)) == list(range(10))
    assert first != second


def test_orders_depend_on_the_seed_and_the_epoch_alone():
    once, again, other = (Loader(range(50), 8, seed=seed) for seed in (3, 3, 4))
    epochs = [list(once) for _ in range(3)]
    again.epoch = 2
    assert list(again) == epochs[2]
    assert list(other) != epochs[0]


def test_without_shuffling_the_order_is_that_of_the_examples():
    assert list(Loader("abcde", 2, shuffle=False)) == [["a", "b"], ["c", "d"], ["e"]]


@pytest.mark.parametrize("size", [0, 2.5, "two"])
def test_a_batch_size_below_one_is_refused(size):
    with pytest.raises(ValueError, match=f"an integer of at least 1, not {size!r}"):
        Loader([], size)


# Corpora from the standard library

CORPORA = [getattr(builtin, name) for name in builtin.__all__]


def by_name(corpus):
    return corpus.__name__


@pytest.mark.parametrize("corpus", CORPORA, ids=by_name)
def test_a_corpus_has_the_size_asked_for_and_is_the_same_every_time(corpus):
    train, dev = corpus(limit=40)
    assert (len(train), len(dev)) == (40, 5)
    assert repr(corpus(limit=40)) == repr((train, dev))


@pytest.mark.parametrize("corpus", CORPORA, ids=by_name)
def test_a_corpus_of_no_size_is_refused(corpus):
    with pytest.raises(ValueError, match="limit must be at least 1, got 0"):
        corpus(limit=0)


@pytest.mark.parametrize("corpus", CORPORA, ids=by_name)
def test_train_and_dev_come_from_different_packages(corpus, monkeypatch):
    read, files = builtin.source.read_module, []
    monkeypatch.setattr(builtin.source, "read_module", lambda f: files.append(f) or read(f))
    _, dev = corpus(limit=80)
    packages = builtin.source.packages()
    package_of = {file: i for i, package in enumerate(packages) for file in package}
    order = [package_of[file] for file in files]
    # Files are read package by package, and dev takes whole packages before train begins.
    assert order == sorted(order)
    assert len(set(order)) > len(dev) // 8 + 80 // 8


def test_files_that_do_not_parse_are_left_out(written):
    assert builtin.source.read_module(written("def f(:\n", "bad.py")) is None
    assert builtin.source.read_module(written(b"x = '\xff'\n", "bytes.py")) is None
    assert builtin.source.read_module(written("x = 1\n", "good.py")) is not None


def test_formatted_strings_are_one_token():
    (line,) = builtin.tokens.logical_lines("x = f'{a}{f\"{b}\"}' + 'c'\n")
    assert [item.text for item in line] == ["x", "=", "f'{a}{f\"{b}\"}'", "+", "'c'"]


SOURCE = """\
from os import path as p, sep
import a.b

@wraps(f)
def top(x, *, key=None):
    x.y = call(x.z, key=b"k") if True else obj.method(-1.5)
    raise E from x

class C(Base, m.Other):
    async def run(self): yield from self.items["s"]
"""
ROLES = """\
from|keyword os|module import|keyword path|import as|keyword p|binding ,|operator sep|import
@|operator wraps|decorator (|bracket f|read )|bracket
def|keyword top|function (|bracket x|parameter ,|operator *|operator ,|operator key|parameter \
=|operator None|literal )|bracket :|operator
x|read .|operator y|attribute_store =|operator call|call (|bracket x|read .|operator z|attribute \
,|operator key|keyword_argument =|operator b"k"|bytes )|bracket if|keyword True|literal \
else|keyword obj|read .|operator method|method_call (|bracket -|operator 1.5|number )|bracket
class|keyword C|class (|bracket Base|base ,|operator m|read .|operator Other|base )|bracket \
:|operator
async|keyword def|keyword run|method (|bracket self|parameter )|bracket :|operator yield|keyword \
from|keyword self|read .|operator items|attribute [|bracket "s"|string ]|bracket
"""


def test_each_token_of_a_line_is_tagged_with_its_role_in_the_syntax(written):
    module = builtin.source.read_module(written(SOURCE, "module.py"))
    expected = [[token.rpartition("|") for token in line.split()] for line in ROLES.splitlines()]
    assert builtin.roles._lines(module) == [
        ([word for word, _, _ in line], [role for _, _, role in line]) for line in expected
    ]


def test_language_model_sequences_are_functions_with_their_layout():
    train, dev = builtin.text(limit=80)
    assert all(10 <= len(words) <= 80 for words in train + dev)
    assert all(words[0] == "def" and words[-1] == "<newline>" for words in train + dev)
    assert any("<indent>" in words and "<dedent>" in words for words in train)


def test_syntax_trees_are_binary_with_words_on_leaves_and_a_label_at_the_root():
    train, dev = builtin.trees(limit=80)
    for tree in train + dev:
        *below, root = tree
        assert root is tree and 0 <= root.label < len(builtin.syntax.VERBS)
        assert all(node.label is None for node in below)
        assert all((node.word is None) == (len(node.children) == 2) for node in tree)
        assert all(node.is_leaf == (node.word is not None) for node in tree)


def test_syntax_trees_with_any_number_of_children_have_a_word_at_every_node(written):
    source = "def get_it(self):\n    'Get it.'\n    return get_it(self.x, 1)\n"
    module = builtin.source.read_module(written(source, "module.py"))
    tree = builtin.syntax._labelled(module.functions()[0], binary=False)
    assert tree.label == builtin.syntax.VERBS.index("get")
    assert " ".join(node.word for node in tree) == (
        "self arg arguments <name> Name x self Name Attribute int Constant Call Return FunctionDef"
    )


def test_names_are_pairs_without_repetition_between_train_and_dev():
    train, dev = builtin.names(limit=400)
    targets = [target for _, target in train + dev]
    assert len(set(targets)) == len(targets)
    assert all(builtin.identifiers.snake_case(source) == target for source, target in train)
    assert builtin.identifiers.snake_case("HTTPServerError2") == "http_server_error2"


def test_dependency_trees_are_projective_with_one_root():
    train, dev = builtin.dependencies(limit=400)
    for sentence in train + dev:
        assert sentence.heads.count(0) == 1
        assert sentence.labels[sentence.heads.index(0)] == "root"
        assert sentence.is_projective()


def test_the_head_of_an_operation_is_its_operator_and_that_of_a_call_its_function(written):
    source = "if yes:\n    x = f(a.b + 1,\n          *c)[0]\n"
    module = builtin.source.read_module(written(source, "module.py"))
    (statement,) = builtin.grammar._statements(module)
    sentence = builtin.grammar._sentence(module, statement)
    arcs = [
        (word, sentence.words[head - 1] if head else None, label)
        for word, head, label in zip(sentence.words, sentence.heads, sentence.labels, strict=True)
    ]
    assert arcs == [
        ("x", "=", "target"), ("=", None, "root"), ("f", "=", "value"), ("(", "f", "mark"),
        ("a", "b", "value"), (".", "b", "mark"), ("b", "+", "operand"), ("+", "f", "argument"),
        ("1", "+", "operand"), (",", "f", "mark"), ("*", "f", "argument"), ("c", "*", "value"),
        (")", "f", "mark"), ("[", "f", "mark"), ("0", "f", "index"), ("]", "f", "mark"),
    ]  # fmt: skip


# The field's own files, where LAZYNET_DATA has them


def test_the_sentiment_treebank_reads_back_as_it_is_written(data_dir):
    train, dev = data.read_split(data_dir / "sst", data.read_trees)
    lines = (data_dir / "sst" / "train.txt").read_text(encoding="utf-8").splitlines()
    assert [str(tree) for tree in train] == lines
    assert len(dev) == 1101


def test_every_sentence_of_a_treebank_has_one_root(data_dir):
    for part in data.read_split(data_dir / "ud_ewt", data.read_conllu):
        assert len(part) > 2000
        assert all(sentence.heads.count(0) == 1 for sentence in part)


def test_every_line_of_tagged_text_is_a_sentence(data_dir):
    assert len(data.read_tagged(data_dir / "wikiner" / "tagged.txt")) == 1696


def test_the_package_brings_its_data():
    code = "import lazynet as ln; print(list(ln.data.Loader([1, 2], 2, shuffle=False)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[[1, 2]]\n"
