"""Every way llava_chat can refuse or fail, as one tree.

The text of an exception is the sentence that a user reads: it names the thing and the way out.
This module imports nothing, so any other may raise from it.

    LlavaChatError                 anything below; exit code 1 on the command line
    +-- UsageError                 a wrong option, field or argument; exit code 2
    |   +-- SettingError           one setting is out of its range: names the field
    +-- InputError                 what a person sent cannot be used; the conversation is unchanged
    |   +-- PictureError           the bytes are no picture that is accepted here
    |   |   +-- MissingPictureError  there is no file of that name
    |   +-- MessageError           the text is empty, too long or not text
    |   +-- FeedbackError          a rating, correction or ranking is not as it must be
    |   +-- ContextFullError       the message and its picture alone exceed the model's context
    +-- CheckpointError            a model cannot be loaded: missing, incomplete, misshapen, unsafe
    +-- EngineError                a reply could not be made
    |   +-- EngineBusyError        too many people are waiting
    |   +-- RemoteEngineError      the server that makes the replies cannot be used
    |   |   +-- RefusedRequestError  it does not take this one request; another it may
    |   +-- EngineOpeningError     the model is still being opened
    |   +-- EngineClosedError      the engine is shutting down
    +-- LimitError                 one person has used what one person may: names when it is free
    +-- ConsentError               feedback is kept only of those who agreed to it
    +-- RoleError                  this is for those who lead projects
    +-- StoreError                 what is kept cannot be read, written or put together so
    |   +-- NotFoundError          no such conversation, or it is somebody else's
    |   +-- ConflictError          what is kept by now leaves no place for it
    +-- SessionError               (llava_chat.web.session) no session of this server
    +-- CallError                  (llava_chat.web.openai.errors) a call of the API is refused
    +-- BenchmarkError             a benchmark's file, or one of answers to it, cannot be used
    +-- TrainingDataError          a row of the instruction data is wrong: names file, row and field
        +-- RowProblem           (llava_chat.training.data) the same, with the kind it is counted as
        +-- BrokenSampleError    its picture is missing or broken: a long run goes on without it
"""


class LlavaChatError(Exception):
    """Base of everything that llava_chat raises on purpose. `str(error)` is fit for a user."""

    exit_code = 1


class UsageError(LlavaChatError):
    """The command line, a setting or a request is wrong."""

    exit_code = 2


class SettingError(UsageError):
    """One setting is out of its range.

    `field` is its name as the user wrote it, `problem` what is wrong with the value.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}")
        self.field = field
        self.problem = problem


class InputError(LlavaChatError):
    """Something a person sent cannot be used. The conversation stays as it was."""


class PictureError(InputError):
    """The bytes are not a picture that is accepted here."""


class MissingPictureError(PictureError):
    """There is no file of that name where it was looked for."""


class MessageError(InputError):
    """The message's text is empty, too long, or not text."""


class ContextFullError(InputError):
    """The newest message does not fit the model's context even with nothing before it."""


class FeedbackError(InputError):
    """A rating, correction or ranking, or a file of them, is not as it must be: names the field."""


class CheckpointError(LlavaChatError):
    """A model cannot be loaded; the sentence names the file or the weight."""


class EngineError(LlavaChatError):
    """A reply could not be made. The next one may well be."""


class EngineBusyError(EngineError):
    """Too many people are waiting for this engine. retry_after_s: about how long, if known."""

    def __init__(self, sentence: str, retry_after_s: float | None = None) -> None:
        super().__init__(sentence)
        self.retry_after_s = retry_after_s


class RemoteEngineError(EngineError):
    """The server that makes the replies is away, too slow, or says what cannot be used."""


class RefusedRequestError(RemoteEngineError):
    """The server is there and does not take these messages; it may take others."""


class LimitError(LlavaChatError):
    """One person has used what one person may. retry_after_s: when there is more, if known."""

    def __init__(self, sentence: str, retry_after_s: float | None = None) -> None:
        super().__init__(sentence)
        self.retry_after_s = retry_after_s


class EngineOpeningError(EngineError):
    """The model is still being opened: what needs it at once has to wait."""


class EngineClosedError(EngineError):
    """The engine is shutting down and takes no new work."""


class ConsentError(LlavaChatError):
    """A person has not agreed that what they say of replies is kept, so it was not."""


class RoleError(LlavaChatError):
    """A person asked for what only those may have who lead projects."""


class StoreError(LlavaChatError):
    """The database cannot be read or written, or a message cannot stand where it was to go."""


class NotFoundError(StoreError):
    """There is no such conversation for this owner. Somebody else's looks the same as none."""


class ConflictError(StoreError):
    """What is kept by now leaves no place for this: repeating it changes nothing."""


class BenchmarkError(LlavaChatError):
    """A file of questions, or of answers to them, cannot be used; names the file and the place."""


class TrainingDataError(LlavaChatError):
    """A row of the training data is wrong; the sentence names file, row and field."""


class BrokenSampleError(TrainingDataError):
    """A sample's picture is missing or broken. A run leaves the sample out and counts it."""
