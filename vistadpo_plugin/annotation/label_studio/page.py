"""The labelling configuration: the page a reviewer sees, and the names its controls have in tasks and exports."""

from __future__ import annotations

EVENT_CONTROL, BOX_CONTROL, VERDICT_CONTROL = "event", "box", "verdict"
EVENT, KEYFRAME, OBJECT = "Event", "Keyframe", "Object"
VIDEO, PICTURE = "video", "picture"
ACCEPT, REJECT, UNSURE = "accept", "reject", "unsure"

TEXTS = {
    "prompt": "Question",
    "chosen": "Right answer",
    "rejected": "Wrong answer, about the video",
    "rejected_irrelevant": "Wrong answer, off the video (may be empty)",
}
"""The fields of a row that are text, and their headings; the control of each has the field's name."""

_TEXT = """\
        <Header value="{heading}" size="5"/>
        <TextArea name="{name}" toName="video" editable="true" maxSubmissions="1" rows="2" showSubmitButton="false"/>
"""

CONFIGURATION = """\
<View>
  <Text name="about" value="$about"/>
  <View style="display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); gap: 24px">
    <View>
      <Header value="When: drag the ends of Event on the time line" size="5"/>
      <TimelineLabels name="event" toName="video">
        <Label value="Event" background="#2f7ed8"/>
        <Label value="Keyframe" background="#e67e22"/>
      </TimelineLabels>
      <Video name="video" value="$video" frameRate="$fps" height="270" timelineHeight="72"/>
    </View>
    <View>
      <Header value="Where, at the keyframe" size="5"/>
      <RectangleLabels name="box" toName="picture" canRotate="false">
        <Label value="Object" background="#2ca02c"/>
      </RectangleLabels>
      <Image name="picture" value="$picture" zoom="true"/>
    </View>
  </View>
  <View style="display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 0 24px">
{texts}  </View>
  <Header value="Is this row right, as it stands now?" size="4"/>
  <Choices name="verdict" toName="video" choice="single" required="true" showInline="true">
    <Choice value="accept" hotkey="a"/>
    <Choice value="reject" hotkey="r"/>
    <Choice value="unsure" hotkey="u"/>
  </Choices>
</View>
""".replace(
    "{texts}",
    "".join(f"    <View>\n{_TEXT.format(name=name, heading=heading)}    </View>\n" for name, heading in TEXTS.items()),
)
