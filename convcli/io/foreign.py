r"""The table of formats that convcli does not read, with a converter for each.

A row is recognised by its first bytes, else by its suffix. Sources of the first bytes: the
specification of each format, and the magic files of `file` and of the PRONOM registry.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import PurePath
from typing import NamedTuple


class Foreign(NamedTuple):
    """A format that is not read: its name in words, a remedy, suffixes, and a signature.

    signature: a pattern of the first bytes. resembles: the format of convcli whose signature its
    files have too; read as that, they contain only previews.
    """

    words: str
    remedy: str
    suffixes: str = ""
    signature: bytes = b""
    resembles: str = ""


def _convert(tool: str, target: str = ".png or .tiff") -> str:
    return f"convert it to {target} with {tool}"


_MAGICK = _convert("ImageMagick")
_FFMPEG = "extract its frames as .png with ffmpeg"
_SOUND = _convert("ffmpeg or sox", ".wav")
_DRAW = _convert("Inkscape or ImageMagick", ".png")
_DEVELOP = "develop it to .tiff with darktable or dcraw"
_BRAIN = _convert("dcm2niix, or Python's nibabel", ".nii")
_SLICER = _convert("3D Slicer, or Python's SimpleITK", ".nii")
_IMAGECODECS = _convert("ImageMagick, or Python's imagecodecs")
_PANDAS = "save the numbers as .csv or .npy with Python's pandas"
_TORCH = "save its tensors as .npy with Python's torch"
_OFFICE = "save the numbers as .csv with LibreOffice"


def _unpack(command: str) -> str:
    return f"unpack it first with {command}"


_FTYP = rb".{4}ftyp"  # the first box of ISO base media files; ISO/IEC 14496-12, 4.3
_ZIPPED = rb"PK\x03\x04.{26}"  # before the name of an archive's first member; APPNOTE.TXT, 4.3.7
_FORM = rb"FORM.{4}"  # before the kind of an IFF file

_PICTURES = (
    Foreign(
        "an AVIF image", _convert("avifdec or ImageMagick"), ".avif .avifs", _FTYP + rb"(avif|avis)"
    ),
    Foreign(
        "a HEIC image",
        _convert("heif-convert or ImageMagick"),
        ".heic .heif .heics .heifs .hif",
        _FTYP + rb"(hei[cxms]|hev[cxms]|mif[12]|msf1|miaf|1pic)",
    ),
    Foreign(
        "a JPEG XL image",
        _convert("djxl or ImageMagick"),
        ".jxl",
        rb"\xff\x0a|\x00\x00\x00\x0cJXL \r\n\x87\n",
    ),
    Foreign("a JPEG XR image", _IMAGECODECS, ".jxr .wdp .hdp", rb"II\xbc[\x00\x01]"),
    Foreign("a JPEG-LS image", _IMAGECODECS, ".jls", rb"\xff\xd8\xff\xf7"),
    Foreign("a BPG image", _convert("bpgdec"), ".bpg", rb"BPG\xfb"),
    Foreign("a FLIF image", _convert("flif"), ".flif", rb"FLIF"),
    Foreign("an OpenEXR image", _convert("ImageMagick, or Python's OpenEXR"), ".exr", rb"v/1\x01"),
    Foreign(
        "a Radiance HDR image", _convert("ImageMagick", ".pfm"), ".rgbe", rb"#\?(RADIANCE|RGBE)"
    ),
    Foreign("a Photoshop document", _MAGICK, ".psd", rb"8BPS\x00\x01"),
    Foreign("a large Photoshop document", _MAGICK, ".psb", rb"8BPS\x00\x02"),
    Foreign("a GIMP image", "export it as .png or .tiff from GIMP", ".xcf", rb"gimp xcf"),
    Foreign("a QOI image", _MAGICK, ".qoi", rb"qoif"),
    Foreign(
        "a PAM image",
        _convert("netpbm's pamtopnm or ImageMagick", ".ppm, .pgm or .png"),
        ".pam",
        rb"P7\s",
    ),
    Foreign("a colour PFM image", _MAGICK, "", rb"PF\s"),
    Foreign("a Windows cursor", _MAGICK, ".cur", rb"\x00\x00\x02\x00[^\x00]\x00"),
    Foreign("a Windows icon", _MAGICK, ".ico", rb"\x00\x00\x01\x00[^\x00]\x00"),
    Foreign("an Apple icon", _MAGICK, ".icns", rb"icns"),
    Foreign("a DDS texture", _MAGICK, ".dds", rb"DDS "),
    Foreign("a KTX texture", "convert it to .png with ktx extract", ".ktx .ktx2", rb"\xabKTX "),
    Foreign("a PCX image", _MAGICK, ".pcx", rb"\x0a[\x00\x02-\x05]\x01[\x01\x02\x04\x08]"),
    Foreign(
        "an SGI image", _MAGICK, ".sgi .rgba .bw", rb"\x01\xda[\x00\x01][\x01\x02]\x00[\x01-\x03]"
    ),
    Foreign("a Sun raster image", _MAGICK, ".ras .sun", rb"\x59\xa6\x6a\x95"),
    Foreign("an X pixmap", _MAGICK, ".xpm", rb"/\* XPM \*/"),
    Foreign("an X bitmap", _MAGICK, ".xbm", rb"\s*(/\*.*?\*/\s*)?#define\s+\S*_?width\s"),
    Foreign("an IFF image", _MAGICK, ".iff .lbm .ilbm", _FORM + rb"(ILBM|PBM )"),
    Foreign("a DPX or Cineon film frame", _MAGICK, ".dpx .cin", rb"SDPX|XPDS|\x80\x2a\x5f\xd7"),
    Foreign(
        "a DjVu document", _convert("ddjvu", ".tiff"), ".djvu .djv", rb"AT&T" + _FORM + rb"DJV[UMI]"
    ),
    Foreign(
        "a FlashPix image or an Office document",
        _MAGICK,
        ".fpx",
        rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    ),
    Foreign(
        "a WMF drawing", _DRAW, ".wmf", rb"\xd7\xcd\xc6\x9a|[\x01\x02]\x00\x09\x00\x00[\x01\x03]"
    ),
    Foreign("an EMF drawing", _DRAW, ".emf", rb"\x01\x00\x00\x00.{36} EMF"),
    Foreign(
        "an SVG drawing",
        _DRAW,
        ".svg .svgz",
        rb"(\xef\xbb\xbf)?\s*(<(\?xml|!--|!DOCTYPE svg).*?)?<svg[\s>]",
    ),
    Foreign("a PDF document", _convert("pdftoppm", ".png or .ppm"), ".pdf", rb"%PDF"),
    Foreign(
        "a PostScript document",
        _convert("Ghostscript", ".png"),
        ".ps .eps",
        rb"%!PS|\xc5\xd0\xd3\xc6",
    ),
    Foreign("an Illustrator document", _DRAW, ".ai"),
)

_CAMERAS = (
    Foreign("a Canon raw picture (CR3)", _DEVELOP, ".cr3", _FTYP + rb"crx "),
    Foreign("a Canon raw picture (CR2)", _DEVELOP, ".cr2", rb"II\*\x00....CR\x02", "tiff"),
    Foreign("a Canon raw picture (CRW)", _DEVELOP, ".crw", rb"II.{4}HEAPCCDR"),
    Foreign("a Fujifilm raw picture (RAF)", _DEVELOP, ".raf", rb"FUJIFILMCCD-RAW"),
    Foreign("an Olympus raw picture (ORF)", _DEVELOP, ".orf", rb"IIR[OS]\x08\x00|MMOR"),
    Foreign("a Panasonic raw picture (RW2)", _DEVELOP, ".rw2 .rwl", rb"IIU\x00"),
    Foreign("a Minolta raw picture (MRW)", _DEVELOP, ".mrw", rb"\x00MRM"),
    Foreign("a Sigma raw picture (X3F)", _DEVELOP, ".x3f", rb"FOVb"),
    Foreign("a Nikon raw picture (NEF)", _DEVELOP, ".nef .nrw", resembles="tiff"),
    Foreign("a Sony raw picture (ARW)", _DEVELOP, ".arw .srf .sr2", resembles="tiff"),
    Foreign("a raw picture in DNG", _DEVELOP, ".dng", resembles="tiff"),
    Foreign(
        "a camera's raw picture",
        _DEVELOP,
        ".pef .srw .3fr .fff .iiq .erf .dcr .kdc .mef .mos",
        resembles="tiff",
    ),
)

_SCIENCE = (
    Foreign("a DICOM image", _BRAIN, ".dcm .dicom", rb".{128}DICM"),
    Foreign(
        "a FITS file",
        "save its data as .npy with Python's astropy",
        ".fits .fit .fts",
        rb"SIMPLE  =",
    ),
    Foreign("an NRRD volume", _SLICER, ".nrrd .nhdr", rb"NRRD000\d"),
    Foreign(
        "a MetaImage volume",
        _SLICER,
        ".mha .mhd",
        rb"\s*(ObjectType|ObjectSubType|Comment|NDims|BinaryData)\s*=",
    ),
    Foreign(
        "an MRC volume",
        "save its data as .npy with Python's mrcfile",
        ".mrc .mrcs .map .ccp4",
        rb".{208}MAP[ \x00]",
    ),
    Foreign(
        "the header of a NIfTI pair of .hdr and .img",
        _BRAIN,
        "",
        rb"(\x5c\x01\x00\x00|\x00\x00\x01\x5c).{340}ni1\x00",
    ),
    Foreign(
        "the header of an Analyze pair",
        _BRAIN,
        "",
        rb"(\x5c\x01\x00\x00|\x00\x00\x01\x5c).{34}r.{305}(?!n)",
    ),
    Foreign("the samples of an Analyze or NIfTI pair", _BRAIN, ".img"),
    Foreign("a Radiance image or the header of an Analyze or ENVI file", _MAGICK, ".hdr"),
    Foreign("a FreeSurfer volume", _BRAIN, ".mgh .mgz"),
    Foreign("a MINC volume", _BRAIN, ".mnc"),
    Foreign(
        "a Matlab file",
        "save the numbers as .npy with Python: scipy.io.loadmat, or h5py for version 7.3",
        ".mat",
        rb"MATLAB \d",
    ),
    Foreign(
        "an HDF5 file",
        "save the numbers as .npy with Python's h5py",
        ".h5 .hdf5 .hdf .he5 .keras",
        rb"\x89HDF",
    ),
    Foreign(
        "an HDF4 file",
        "save the numbers as .npy with Python's pyhdf",
        ".hdf4",
        rb"\x0e\x03\x13\x01",
    ),
    Foreign(
        "a NetCDF file",
        "save the numbers as .npy with Python's xarray",
        ".nc .nc4 .cdf",
        rb"CDF[\x01\x02\x05]",
    ),
    Foreign(
        "a GRIB file",
        "save the numbers as .npy with Python's xarray",
        ".grib .grb .grib2 .grb2",
        rb"GRIB",
    ),
    Foreign("a Zeiss CZI image", "save it as .tiff from ZEN or ImageJ", ".czi", rb"ZISRAWFILE"),
    Foreign("a Nikon ND2 image", "save it as .tiff from ImageJ", ".nd2", rb"\xda\xce\xbe\x0a"),
    Foreign(
        "a Leica LIF image", "save it as .tiff from ImageJ", ".lif", rb"\x70\x00\x00\x00.{4}\x2a"
    ),
    Foreign("a Parquet table", _PANDAS, ".parquet", rb"PAR1"),
    Foreign("an Arrow or Feather table", _PANDAS, ".arrow .feather", rb"ARROW1|FEA1"),
    Foreign(
        "an SQLite database",
        "export a table as .csv with sqlite3 -csv",
        ".sqlite .sqlite3 .db",
        rb"SQLite format 3\x00",
    ),
    Foreign("an Excel workbook", _OFFICE, ".xlsx .xls .xlsm", _ZIPPED + rb"\[Content_Types\]\.xml"),
    Foreign(
        "an OpenDocument file",
        _OFFICE,
        ".ods .odt .odp .odg",
        _ZIPPED + rb"mimetypeapplication/vnd\.oasis",
    ),
    Foreign(
        "a PyTorch file",
        _TORCH,
        ".pt .pth .ckpt",
        _ZIPPED + rb"[^/]{1,200}/(data\.pkl|\.?format_version|\.data/)",
    ),
    Foreign(
        "a safetensors file",
        "save its tensors as .npy with Python's safetensors",
        ".safetensors",
        rb".{4}\x00{4}\{\s*\"",
    ),
    Foreign(
        "a NumPy or Python pickle",
        "save it as .npy with numpy.save",
        ".pkl .pickle",
        rb"\x80[\x02-\x05][\x95c}\](\x8a]",
    ),
    Foreign("a GGUF model", "save its tensors as .npy with Python's gguf", ".gguf", rb"GGUF"),
    Foreign("an ONNX model", "give it to convcli shape --onnx", ".onnx"),
    Foreign(
        "a TensorFlow Lite model", _TORCH.replace("torch", "tensorflow"), ".tflite", rb".{4}TFL3"
    ),
    Foreign(
        "a JSON document", "write its numbers as .csv, rows of numbers", ".json", rb"\s*\{\s*\""
    ),
)

_FILMS_AND_SOUND = (
    Foreign("a QuickTime film", _FFMPEG, ".mov .qt", _FTYP + rb"qt  |.{4}(moov|mdat|wide|pnot)"),
    Foreign("an M4A recording", _SOUND, ".m4a .m4b", _FTYP + rb"M4[AB] "),
    Foreign("an MP4 film", _FFMPEG, ".mp4 .m4v .3gp .3g2", _FTYP),
    Foreign("a Matroska or WebM film", _FFMPEG, ".mkv .webm .mka", rb"\x1a\x45\xdf\xa3"),
    Foreign("an AVI film", _FFMPEG, ".avi", rb"RIFF....AVI[ X]"),
    Foreign(
        "an MPEG film",
        _FFMPEG,
        ".mpg .mpeg .ts .m2ts .vob",
        rb"\x00\x00\x01[\xba\xb3]|G.{187}G.{187}G",
    ),
    Foreign("a Flash film", _FFMPEG, ".flv .swf", rb"FLV\x01|[FCZ]WS[\x01-\x30]"),
    Foreign(
        "a Windows Media file", _FFMPEG, ".wmv .wma .asf", rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11"
    ),
    Foreign("an MNG or JNG animation", _MAGICK, ".mng .jng", rb"[\x8a\x8b][MJ]NG\r\n\x1a\n"),
    Foreign("a YUV4MPEG film", _FFMPEG, ".y4m", rb"YUV4MPEG2 "),
    Foreign("an MP3 recording", _SOUND, ".mp3", rb"ID3[\x02-\x04]|\xff[\xfb\xfa\xf3\xf2\xe3\xe2]"),
    Foreign("an AAC recording", _SOUND, ".aac", rb"\xff[\xf1\xf9]"),
    Foreign("a FLAC recording", _SOUND, ".flac", rb"fLaC"),
    Foreign("an Ogg recording", _SOUND, ".ogg .oga .opus .ogv", rb"OggS"),
    Foreign("an AIFF recording", _SOUND, ".aiff .aif .aifc", _FORM + rb"AIF[FC]"),
    Foreign("an AU recording", _SOUND, ".au .snd", rb"\.snd"),
    Foreign("a CAF recording", _SOUND, ".caf", rb"caff\x00\x01"),
    Foreign("a Wave64 recording", _SOUND, ".w64", rb"riff\x2e\x91\xcf\x11"),
    Foreign("a MIDI file", "render it to .wav with fluidsynth", ".mid .midi", rb"MThd"),
)

_PACKED = (
    Foreign(
        "bzip2-compressed data", _unpack("bunzip2"), ".bz2 .tbz2", rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"
    ),
    Foreign("xz-compressed data", _unpack("unxz"), ".xz .txz", rb"\xfd7zXZ\x00"),
    Foreign("lzma-compressed data", _unpack("unlzma"), ".lzma", rb"\x5d\x00\x00.{2}\xff{8}"),
    Foreign(
        "Zstandard-compressed data", _unpack("unzstd"), ".zst .zstd", rb"[\x22-\x28]\xb5\x2f\xfd"
    ),
    Foreign("LZ4-compressed data", _unpack("lz4 -d"), ".lz4", rb"\x04\x22\x4d\x18"),
    Foreign("lzip-compressed data", _unpack("lzip -d"), ".lz", rb"LZIP\x01"),
    Foreign("data compressed by compress", _unpack("uncompress"), ".z", rb"\x1f[\x9d\xa0]"),
    Foreign("gzip-compressed data", _unpack("gunzip"), ".gz .tgz"),
    Foreign("a tar archive", _unpack("tar -xf"), ".tar", rb".{257}ustar"),
    Foreign("a 7-Zip archive", _unpack("7z x"), ".7z", rb"7z\xbc\xaf\x27\x1c"),
    Foreign("a RAR archive", _unpack("unrar x"), ".rar", rb"Rar!\x1a\x07"),
    Foreign("a zip archive", _unpack("unzip"), ".zip", _ZIPPED + rb"(?![\x20-\xff]{1,250}?\.npy)"),
)

_OTHERS = (
    Foreign(
        "an XML or HTML document",
        "give the picture or the numbers in it",
        ".xml .html .htm",
        rb"\s*<(\?xml|!DOCTYPE|html)",
    ),
    Foreign(
        "UTF-16 text", _convert("iconv -f UTF-16 -t UTF-8", "UTF-8"), "", rb"\xff\xfe|\xfe\xff"
    ),
    Foreign(
        "a program", "give a picture or an array", ".exe .dll .so", rb"\x7fELF|MZ.{58}..\x00\x00"
    ),
    Foreign(
        "a Targa image",
        _MAGICK,
        ".tga .icb .vda .vst",
        rb".(\x00[\x02\x03\x0a\x0b]\x00{5}|\x01[\x01\x09]..[^\x00].[\x0f\x10\x18\x20])"
        rb".{4}(?!\x00\x00)..(?!\x00\x00)..[\x08\x0f\x10\x18\x20][\x00-\x3f]",
    ),
)

FOREIGN = (*_PICTURES, *_CAMERAS, *_SCIENCE, *_FILMS_AND_SOUND, *_PACKED, *_OTHERS)
"""Every row; if two match the same first bytes, the earlier one is used."""


@cache
def _patterns() -> tuple[tuple[re.Pattern[bytes], Foreign], ...]:
    return tuple((re.compile(row.signature, re.DOTALL), row) for row in FOREIGN if row.signature)


@cache
def _by_suffix() -> dict[str, Foreign]:
    return {suffix: row for row in FOREIGN for suffix in row.suffixes.split()}


def recognise_foreign(head: bytes) -> Foreign | None:
    r"""Return the format that matches first bytes, if it is one that convcli does not read.

    >>> recognise_foreign(b"\0\0\0\x1cftypheic").words, recognise_foreign(b"\x93NUMPY")
    ('a HEIC image', None)
    """
    return next((row for pattern, row in _patterns() if pattern.match(head)), None)


def foreign_suffix(name: str) -> Foreign | None:
    """Return the format of a name's suffix, if it is one that convcli does not read.

    >>> foreign_suffix("a/IMG_1.HEIC").words, foreign_suffix(".heic").words, foreign_suffix("a.png")
    ('a HEIC image', 'a HEIC image', None)
    """
    pure = PurePath(name)
    suffix = (pure.suffix or pure.name).lower()  # a name such as .heic is a suffix
    return _by_suffix().get(suffix)
