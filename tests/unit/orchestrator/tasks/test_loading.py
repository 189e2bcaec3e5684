"""Tasks as they are read: those of the package, and files of a user's with everything that can be wrong with one."""

from pathlib import Path

import pytest

from maia.orchestrator.answers import TAGS
from maia.orchestrator.tags import read_answer
from maia.orchestrator.tasks import Task, load_task, read_task_file, task_names
from maia.orchestrator.tasks.task import PLACEHOLDERS, REMINDERS
from maia.wire.errors import InvalidRequestError, NotFoundError, PreconditionError

QUESTION = "Does it cost $5 or ${rounds}?"
OWN = 'answer = "text"\nsystem = "Be curious.\\n$rules\\n$form\\n$tools"\ntask = "You have $rounds rounds for $unit."\n'


def loaded(name: str) -> Task:
    return load_task(name, question=QUESTION if name == "question" else "")


def own(folder: Path, text: str = OWN, name: str = "own.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_these_tasks_are_there() -> None:
    assert task_names() == ("class_bias", "neuron_description", "question", "spurious_feature")
    assert [loaded(name).form for name in task_names()] == ["bias", "labels", "text", "verdict"]
    assert [name for name in task_names() if loaded(name).units == "class"] == ["class_bias"]


@pytest.mark.parametrize("name", task_names())
def test_every_text_is_whole(name: str) -> None:
    task = loaded(name)
    system = task.system_prompt(api="THE $api", prompt_guide="HOW TO PROMPT", instruction_guide="HOW TO EDIT")
    first = task.task_prompt(rounds=25, unit="unit 12 of the layer layer3")
    assert "25 rounds" in " ".join(first.split())
    for guide in ("THE $api", "HOW TO PROMPT", "HOW TO EDIT"):
        assert system.count(guide) == 1
    texts = [first, *(task.reminder(reminder) for reminder in REMINDERS)]
    assert "$" not in system.replace("$api", "")
    assert "$" not in "".join(texts).replace(QUESTION, "")
    assert all(text.strip() for text in texts)
    assert TAGS[task.form] in task.reminder("no_code")
    assert (QUESTION in first) is (name == "question")


@pytest.mark.parametrize("name", task_names())
def test_the_form_that_is_asked_for_is_one_that_is_read(name: str) -> None:
    task = loaded(name)
    answer = read_answer(task.texts["form"], task.form)
    assert answer is not None
    assert answer.description
    assert answer.complete is (task.form != "verdict")  # "SELECTIVE or SPURIOUS" is no verdict


def test_an_unknown_task_is_refused_with_those_that_exist() -> None:
    with pytest.raises(NotFoundError, match="valid: class_bias, neuron_description, question") as caught:
        load_task("dream")
    assert caught.value.reason == "TASK_UNKNOWN"
    with pytest.raises(NotFoundError):
        load_task("shared")


def test_a_task_that_takes_a_question_wants_one() -> None:
    with pytest.raises(PreconditionError, match="maia ask"):
        load_task("question", question="  ")


def test_a_file_needs_three_fields_and_shares_the_rest(tmp_path: Path) -> None:
    task = read_task_file(own(tmp_path))
    assert (task.name, task.form, task.units, task.folder) == ("own", "text", "any", "own")
    system = task.system_prompt(api="API", prompt_guide="P", instruction_guide="I")
    assert system.startswith("Be curious.\n" + load_task("neuron_description").texts["rules"].strip())
    assert "[ANSWER]:" in system
    assert task.task_prompt(rounds=3, unit="unit 1") == "You have 3 rounds for unit 1."
    for text in set(PLACEHOLDERS) - {"system", "task"}:
        assert task.texts[text] == loaded("question").texts[text]


def test_a_file_may_have_every_text_of_its_own(tmp_path: Path) -> None:
    task = read_task_file(own(tmp_path, OWN + 'units = "class"\nrules = "None."\nfinal = "End with $tags."\n'))
    assert task.units == "class"
    assert "Be curious.\nNone.\n" in task.system_prompt(api="", prompt_guide="", instruction_guide="")
    assert task.reminder("final") == "End with [ANSWER]:."


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("answer", "anser"), "has a field 'anser'; valid: answer, units, system, task"),
        (('answer = "text"', ""), "lacks the field 'answer'; valid: labels, bias, verdict, text"),
        (('"text"', '"song"'), "has answer = 'song'; valid: labels, bias, verdict, text"),
        (('"text"', "[1]"), "has answer = [1]"),
        (("\ntask", "\nfinal"), "lacks the field 'task'"),
        (("\nsystem", "\nrules"), "lacks the field 'system'"),
        (("$rounds", "$round"), "its text 'task' has $round; valid: $rounds, $unit, $question; write $$"),
        (("$rounds", "$5 for"), "in its text 'task' a $ begins no placeholder; write $$"),
        (("$tools", ""), "its text 'system' has no $tools"),
        (("\ntask = ", '\nunits = "neuron"\ntask = '), "has units = 'neuron'; valid: any, class"),
        (("\ntask = ", "\nfinal = 3\ntask = "), "its field 'final' is no text, but 3"),
        (("\ntask = ", '\nfinal = " "\ntask = '), "its field 'final' is no text"),
        (("\ntask = ", '\nrules = "$api"\ntask = '), "its text 'rules' has $api; valid: none here"),
        (("answer =", "answer"), "is no TOML"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    path = own(tmp_path, OWN.replace(*change, 1))
    with pytest.raises(InvalidRequestError) as caught:
        read_task_file(path)
    assert caught.value.reason == "TASK_FILE_INVALID"
    assert str(path) in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read_or_named_so_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"gone.toml cannot be read: No such file"):
        read_task_file(tmp_path / "gone.toml")
    with pytest.raises(InvalidRequestError, match="/dev/zero cannot be read: it is no regular file"):
        read_task_file("/dev/zero")
    with pytest.raises(InvalidRequestError, match="cannot be read: it is larger than 1 MiB"):
        read_task_file(own(tmp_path, OWN.ljust((1 << 20) + 1), "large.toml"))
    with pytest.raises(InvalidRequestError, match="rename it"):
        read_task_file(own(tmp_path, name="question.toml"))
    for name in ("images.toml", ".own.toml"):
        with pytest.raises(InvalidRequestError, match="rename the file"):
            read_task_file(own(tmp_path, name=name))
    (tmp_path / "noise.toml").write_bytes(b"\xff")
    with pytest.raises(InvalidRequestError, match="is no TOML"):
        read_task_file(tmp_path / "noise.toml")
    with pytest.raises(PreconditionError, match="takes a question"):
        read_task_file(own(tmp_path, OWN.replace("$unit", "$question")))


def test_the_results_of_each_task_and_question_lie_apart() -> None:
    folders = [loaded(name).folder for name in task_names()]
    assert folders[:2] == ["class_bias", ""]
    assert len(set(folders)) == len(folders)
    one, other = (load_task("question", question=f"Ties{mark} or collars?").folder for mark in ("", "!"))
    assert one.startswith("question/ties-or-collars-")
    assert one != other
    assert one == load_task("question", question=" Ties  or collars? ").folder
