"""Lines of the zoo's table: sound."""

from __future__ import annotations

import zoo_audio as audio
import zoo_outputs as outputs
from zoo_entry import Entry

_SHORT = {"audio_length_in_s": 0.02, "negative_prompt": "a green cross"}

ENTRIES: dict[str, Entry] = {
    "StableAudioPipeline": Entry(build=outputs.stable_audio, kind="audio"),
    "AudioLDMPipeline": Entry(build=audio.audio_ldm, kind="audio", call=_SHORT),
    "AudioLDM2Pipeline": Entry(
        build=audio.audio_ldm_2, kind="audio", call=_SHORT | {"max_new_tokens": 2, "transcription": "a red circle"}
    ),
}
